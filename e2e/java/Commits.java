// A transactional producer that commits one transaction of one record after the other, until its standard input ends,
// and prints "committed" after each. A line of its standard input is the partition to write to from then on.
//
// Arguments: bootstrap servers, topic, then settings as NAME=VALUE.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

public class Commits {
    private static volatile boolean stopped;
    private static volatile int partition;

    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", args[0]));
        for (int i = 2; i < args.length; i++) {
            String[] setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        new Thread(Commits::listen).start();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            while (!stopped) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(args[1], partition, null, "x"));
                if (isCommitted(producer)) {
                    System.out.println("committed");
                }
            }
        }
    }

    private static boolean isCommitted(KafkaProducer<String, String> producer) {
        while (true) {
            try {
                producer.commitTransaction();
                return true;
            } catch (TimeoutException again) {
                // The answer may still come.
            } catch (ProducerFencedException fenced) {
                throw fenced;
            } catch (KafkaException aborted) {
                producer.abortTransaction();
                return false;
            }
        }
    }

    private static void listen() {
        try (var lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                partition = Integer.parseInt(line);
            }
        } catch (IOException error) {
            // as good as its end
        }
        stopped = true;
    }
}
