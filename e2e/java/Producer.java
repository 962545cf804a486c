// A producer that sends a small record to each partition in turn, until its standard input ends, and prints a line for
// each outcome:
//
//   PARTITION           a record is written
//   failed REASON
//
// Arguments: bootstrap servers, topic, how many partitions, milliseconds between records, then settings as NAME=VALUE.

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    private static volatile boolean stopped;

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", args[0]));
        for (int i = 4; i < args.length; i++) {
            String[] setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        int partitions = Integer.parseInt(args[2]);
        Thread listening = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException error) {
                // as good as its end
            }
            stopped = true;
        });
        listening.start();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int next = 0; !stopped; next = (next + 1) % partitions) {
                var record = new ProducerRecord<String, String>(args[1], next, null, "a record of a few bytes");
                producer.send(record, (written, error) ->
                    out.println(error == null ? written.partition() : "failed " + error));
                Thread.sleep(Long.parseLong(args[3]));
            }
        }
    }
}
