// Clients whose sessions end while they work, as in ../python/sessions.py, on Kafka's own client: APPS MTLS FOLDER SECONDS.

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Sessions {
    private static final List<String> MECHANISMS = List.of("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER", "TLS");
    private static final int PARTITIONS = 3;
    private static final long LIMIT_MS = 120_000;
    private static final String PACKAGE = "org.apache.kafka.common.security.";

    private static String apps;
    private static String mtls;
    private static Path folder;
    private static long lengthMs;

    public static void main(String[] args) throws Exception {
        apps = args[0];
        mtls = args[1];
        folder = Path.of(args[2]);
        lengthMs = (long) (Double.parseDouble(args[3]) * 1000);
        var threads = Executors.newFixedThreadPool(MECHANISMS.size());
        try {
            List<Future<Integer>> all = new ArrayList<>();
            for (String mechanism : MECHANISMS) {
                all.add(threads.submit(() -> outlive(mechanism)));
            }
            for (int i = 0; i < all.size(); i++) {
                System.out.println("ok " + MECHANISMS.get(i) + " " + all.get(i).get());
            }
        } finally {
            threads.shutdownNow();
        }
    }

    private static String content(String name) throws Exception {
        return Files.readString(folder.resolve(name));
    }

    private static Map<String, Object> login(String mechanism) throws Exception {
        Map<String, Object> login = new HashMap<>();
        boolean hasCertificate = mechanism.equals("TLS");
        login.put("bootstrap.servers", hasCertificate ? mtls : apps);
        login.put("ssl.truststore.type", "PEM");
        login.put("ssl.truststore.location", folder.resolve("ca.crt").toString());
        if (hasCertificate) {
            login.put("security.protocol", "SSL");
            login.put("ssl.keystore.type", "PEM");
            login.put("ssl.keystore.certificate.chain", content("user.crt"));
            login.put("ssl.keystore.key", content("user.key"));
            return login;
        }
        login.put("security.protocol", "SASL_SSL");
        login.put("sasl.mechanism", mechanism);
        if (mechanism.equals("OAUTHBEARER")) {
            login.put("sasl.jaas.config", PACKAGE + "oauthbearer.OAuthBearerLoginModule required;");
            login.put("sasl.login.callback.handler.class", PACKAGE + "oauthbearer.OAuthBearerLoginCallbackHandler");
            login.put("sasl.oauthbearer.token.endpoint.url", "file://" + folder.resolve("token"));
            // It asks for the next token after four fifths of this one's time.
            login.put("sasl.login.refresh.min.period.seconds", "0");
            login.put("sasl.login.refresh.buffer.seconds", "0");
        } else {
            String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            String password = content("password");
            login.put("sasl.jaas.config", PACKAGE + module + " required username=\"orders\" password=\"" + password + "\";");
        }
        return login;
    }

    private static int outlive(String mechanism) throws Exception {
        String topic = "java-" + mechanism.toLowerCase(Locale.ROOT);
        Map<String, Object> producing = login(mechanism);
        producing.put("transactional.id", topic);
        Map<String, Object> consuming = login(mechanism);
        consuming.put("group.id", topic);
        consuming.put("isolation.level", "read_committed");
        consuming.put("auto.offset.reset", "earliest");
        consuming.put("enable.auto.commit", "false");
        List<String> committed = new ArrayList<>();
        List<String> taken = new ArrayList<>();
        try (var producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer());
                var consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(topic));
            long begin = System.currentTimeMillis();
            for (int number = 0; System.currentTimeMillis() - begin < lengthMs; number++) {
                boolean commits = number % 4 != 3;
                producer.beginTransaction();
                List<Future<?>> sent = new ArrayList<>();
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    String value = number + "/" + partition;
                    sent.add(producer.send(new ProducerRecord<>(topic, partition, null, value)));
                    if (commits) {
                        committed.add(value);
                    }
                }
                for (Future<?> one : sent) {
                    one.get();
                }
                if (commits) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                take(consumer, taken);
            }
            while (taken.size() < committed.size() && System.currentTimeMillis() - begin < lengthMs + LIMIT_MS) {
                take(consumer, taken);
            }
        }
        committed.sort(null);
        taken.sort(null);
        if (!committed.equals(taken)) {
            throw new AssertionError(topic + ": " + committed.size() + " committed, " + taken.size() + " read");
        }
        return taken.size();
    }

    private static void take(KafkaConsumer<String, String> consumer, List<String> taken) {
        boolean any = false;
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
            taken.add(record.value());
            any = true;
        }
        if (any) {
            consumer.commitSync();
        }
    }
}
