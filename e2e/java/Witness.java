// A careful Java application that reports all that it sees, a line for each event, until its standard input says "stop":
//
//   acknowledged SEQUENCE PARTITION OFFSET   a record is written; offset -1 if the producer did not get it
//   unknown SEQUENCE REASON                  the producer has failed it
//   read PARTITION OFFSET VALUE              the consumer, from the beginning of every partition
//   served                                   a client that was just made has done its work for the first time
//   done                                     every record has its outcome
//
// When its standard input says "again", its producer and its consumer close, and others continue, with what the file of
// properties has now.
//
// Arguments: bootstrap servers, topic, how many partitions, the producer's number, milliseconds between records, bytes of
// a value, and a file of properties to log in with, if they need any.

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
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
    /** How often standard input has said "again". Clients that see another number than they began with close. */
    private static volatile int round;

    public static void main(String[] args) throws Exception {
        String servers = args[0];
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        String login = args.length > 6 ? args[6] : null;
        Thread producing = thread(() ->
            produce(servers, login, topic, partitions, args[3], Long.parseLong(args[4]), Integer.parseInt(args[5])));
        Thread consuming = thread(() -> consume(servers, login, topic, partitions));
        var input = new BufferedReader(new InputStreamReader(System.in));
        String word = input.readLine();
        for (int next = 1; "again".equals(word); next++) {
            round = next;
            word = input.readLine();
        }
        stopped = true;
        if (word != null) { // else nobody is there to hear it
            producing.join();
            consuming.join();
            out.println("done");
        }
        System.exit(0);
    }

    /** These settings, and those of the file that clients log in with. */
    private static Map<String, Object> settings(String login, Map<String, Object> more) throws IOException {
        Map<String, Object> settings = new HashMap<>(more);
        if (login != null) {
            Properties properties = new Properties();
            try (var file = Files.newBufferedReader(Path.of(login))) {
                properties.load(file);
            }
            properties.stringPropertyNames().forEach(name -> settings.put(name, properties.getProperty(name)));
        }
        return settings;
    }

    private static void produce(
            String servers, String login, String topic, int partitions, String number, long paceMs, int size)
            throws InterruptedException, IOException {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", servers,
            "acks", "all",
            "enable.idempotence", true,
            "max.block.ms", GIVEN_UP_AFTER_MS,
            "request.timeout.ms", REQUEST_TIMEOUT_MS,
            "delivery.timeout.ms", GIVEN_UP_AFTER_MS);
        Semaphore room = new Semaphore(MOST_IN_FLIGHT);
        int next = 0;
        while (!stopped) {
            int now = round;
            var served = new AtomicBoolean();
            try (var producer = new KafkaProducer<>(
                    settings(login, settings), new ByteArraySerializer(), new ByteArraySerializer())) {
                for (; !stopped && round == now; next++) {
                    room.acquire();
                    int sequence = next;
                    String id = number + "-" + sequence;
                    byte[] value = bytes(value(id, sequence, size));
                    producer.send(new ProducerRecord<>(topic, sequence % partitions, bytes(id), value), (written, error) -> {
                        room.release();
                        if (error != null) {
                            out.println("unknown " + sequence + " " + error.toString().replace('\n', ' '));
                            return;
                        }
                        out.println("acknowledged " + sequence + " " + written.partition() + " " + written.offset());
                        if (!served.getAndSet(true)) {
                            out.println("served");
                        }
                    });
                    Thread.sleep(paceMs);
                }
                producer.flush();
            }
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

    private static void consume(String servers, String login, String topic, int partitions) throws IOException {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", servers, "auto.offset.reset", "none", "request.timeout.ms", REQUEST_TIMEOUT_MS);
        Map<TopicPartition, Long> positions = new HashMap<>();
        for (int number = 0; number < partitions; number++) {
            positions.put(new TopicPartition(topic, number), 0L);
        }
        while (!stopped) {
            int now = round;
            boolean served = false;
            try (var consumer = new KafkaConsumer<>(
                    settings(login, settings), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer.assign(positions.keySet());
                positions.forEach((partition, offset) -> consumer.seek(partition, offset));
                while (!stopped && round == now) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                        String value = new String(record.value(), StandardCharsets.ISO_8859_1);
                        out.println("read " + record.partition() + " " + record.offset() + " " + value);
                        if (!served) {
                            out.println("served");
                        }
                        served = true;
                    }
                }
                positions.replaceAll((partition, offset) -> consumer.position(partition));
            }
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private interface Work {
        void run() throws Exception;
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
