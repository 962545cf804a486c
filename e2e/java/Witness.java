// A careful Java application that reports all that it sees, a line for each event, until its standard input says
// "stop":
//
//   acknowledged SEQUENCE PARTITION OFFSET      a record is written; offset -1 if the producer did not get it unknown
//   SEQUENCE REASON                     the producer has failed it read PARTITION OFFSET VALUE                 the
//   consumer, from the beginning of every partition done                                        every record has its
//   outcome
//
// Arguments: bootstrap servers, topic, how many partitions, the producer's number, milliseconds between records, bytes of a value.

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Witness {
    private static final String FILLING = "abcdefghijklmnopqrstuvwxyz.";
    /** An outage is to be waited for, not to be hoarded. */
    private static final int MOST_IN_FLIGHT = 2000;
    private static final int GIVEN_UP_AFTER_MS = 300_000;
    /** Half a minute by default, and a machine without power does not even refuse. */
    private static final int REQUEST_TIMEOUT_MS = 10_000;

    private static final PrintStream out =
        new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.ISO_8859_1);
    private static volatile boolean stopped;

    public static void main(String[] args) throws Exception {
        String servers = args[0];
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        Thread producing = thread(() ->
            produce(servers, topic, partitions, args[3], Long.parseLong(args[4]), Integer.parseInt(args[5])));
        Thread consuming = thread(() -> consume(servers, topic, partitions));
        String word = new BufferedReader(new InputStreamReader(System.in)).readLine();
        stopped = true;
        if (word != null) { // else nobody is there to hear it
            producing.join();
            consuming.join();
            out.println("done");
        }
        System.exit(0);
    }

    private static void produce(String servers, String topic, int partitions, String number, long paceMs, int size)
            throws InterruptedException {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", servers,
            "acks", "all",
            "enable.idempotence", true,
            "max.block.ms", GIVEN_UP_AFTER_MS,
            "request.timeout.ms", REQUEST_TIMEOUT_MS,
            "delivery.timeout.ms", GIVEN_UP_AFTER_MS);
        Semaphore room = new Semaphore(MOST_IN_FLIGHT);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int next = 0; !stopped; next++) {
                room.acquire();
                int sequence = next;
                String id = number + "-" + sequence;
                var record = new ProducerRecord<>(topic, sequence % partitions, bytes(id), bytes(value(id, sequence, size)));
                producer.send(record, (written, error) -> {
                    room.release();
                    if (error == null) {
                        out.println("acknowledged " + sequence + " " + written.partition() + " " + written.offset());
                    } else {
                        out.println("unknown " + sequence + " " + error.toString().replace('\n', ' '));
                    }
                });
                Thread.sleep(paceMs);
            }
            producer.flush();
        }
    }

    /** As ottla_history::Id::payload makes it. */
    private static String value(String id, int sequence, int size) {
        StringBuilder value = new StringBuilder(id).append(' ');
        for (int i = sequence; value.length() < size; i++) {
            value.append(FILLING.charAt(i % FILLING.length()));
        }
        return value.toString();
    }

    private static void consume(String servers, String topic, int partitions) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", servers, "auto.offset.reset", "none", "request.timeout.ms", REQUEST_TIMEOUT_MS);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all =
                IntStream.range(0, partitions).mapToObj(number -> new TopicPartition(topic, number)).toList();
            consumer.assign(all);
            all.forEach(partition -> consumer.seek(partition, 0));
            while (!stopped) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    String value = new String(record.value(), StandardCharsets.ISO_8859_1);
                    out.println("read " + record.partition() + " " + record.offset() + " " + value);
                }
            }
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private interface Work {
        void run() throws InterruptedException;
    }

    /** What a client throws ends the program, which its reader notices. */
    private static Thread thread(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Throwable error) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
        thread.start();
        return thread;
    }
}
