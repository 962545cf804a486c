// Transactions with Kafka's own clients: BOOTSTRAP SCENARIO... Prints "protocol V1" or "protocol V2", and "ok SCENARIO"
// for each; or ends with what went wrong.
//
//   session    transactions are committed and aborted in turn: read_committed returns the committed ones, in order
//   transform  records are taken, written again, and counted as taken, all in one transaction; every third is aborted
//   fenced     a second producer with the same transactional id fences the first
//   group      a producer cannot commit for a member that has left its group, or for an earlier generation (KIP-447)

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.internals.TransactionManager;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Transactions {
    private static final Duration POLL = Duration.ofMillis(100);
    private static final long LIMIT_MS = 180_000;

    private static String bootstrap;
    private static boolean isProtocolKnown;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        for (String scenario : List.of(args).subList(1, args.length)) {
            switch (scenario) {
                case "session" -> session();
                case "transform" -> transform();
                case "fenced" -> fenced();
                case "group" -> group();
                case "consumers" -> consumers();
                default -> check(false, "no scenario " + scenario);
            }
            System.out.println("ok " + scenario);
        }
    }

    private static void session() throws Exception {
        create("session", 2);
        List<List<String>> committed = List.of(new ArrayList<>(), new ArrayList<>());
        try (var producer = producer("session")) {
            for (int round = 0; round < 30; round++) {
                boolean commits = round % 3 != 1;
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    String value = "round " + round + " record " + i;
                    producer.send(new ProducerRecord<>("session", i % 2, null, value));
                    if (commits) {
                        committed.get(i % 2).add(value);
                    }
                }
                if (commits) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        same(committed, read("session", 2));
    }

    private static void transform() throws Exception {
        create("input", 2);
        create("output", 2);
        try (var source = new KafkaProducer<>(settings(), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 100; i++) {
                source.send(new ProducerRecord<>("input", i % 2, null, "record " + i));
            }
        }
        try (var consumer = consumer("transform"); var producer = producer("transform")) {
            consumer.subscribe(List.of("input"));
            int taken = 0;
            int aborted = 0;
            for (int round = 0; taken < 100; round++) {
                List<ConsumerRecord<String, String>> batch = new ArrayList<>();
                await("records", () -> {
                    consumer.poll(POLL).forEach(batch::add);
                    return !batch.isEmpty();
                });
                Map<TopicPartition, Long> first = new HashMap<>();
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                producer.beginTransaction();
                for (var record : batch) {
                    var partition = new TopicPartition("input", record.partition());
                    first.putIfAbsent(partition, record.offset());
                    next.put(partition, new OffsetAndMetadata(record.offset() + 1));
                    producer.send(new ProducerRecord<>("output", record.partition(), null, record.value()));
                }
                producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                if (round % 3 == 1) {
                    producer.abortTransaction();
                    aborted++;
                    first.forEach(consumer::seek);
                } else {
                    producer.commitTransaction();
                    taken += batch.size();
                }
            }
            check(aborted > 2, "only " + aborted + " transactions were aborted");
            var committed = consumer.committed(Set.of(new TopicPartition("input", 0), new TopicPartition("input", 1)));
            committed.forEach((partition, offset) -> check(offset.offset() == 50, "committed: " + committed));
        }
        same(read("input", 2), read("output", 2));
    }

    private static void fenced() throws Exception {
        create("fenced", 1);
        try (var first = producer("fenced")) {
            first.beginTransaction();
            first.send(new ProducerRecord<>("fenced", 0, null, "of the first"));
            first.flush();
            try (var second = producer("fenced")) {
                try {
                    first.commitTransaction();
                    check(false, "the first commits after the second began");
                } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
                    // as it must be
                }
                second.beginTransaction();
                second.send(new ProducerRecord<>("fenced", 0, null, "of the second"));
                second.commitTransaction();
            }
            same(List.of(List.of("of the second")), read("fenced", 1));
        }
    }

    private static void group() throws Exception {
        create("group", 2);
        Map<TopicPartition, OffsetAndMetadata> offset = Map.of(new TopicPartition("group", 0), new OffsetAndMetadata(7));
        ConsumerGroupMetadata left;
        try (var gone = consumer("group")) {
            join(gone, 2);
            left = gone.groupMetadata();
        }
        try (var stays = consumer("group"); var producer = producer("group")) {
            join(stays, 2);
            refused(producer, offset, left);
            ConsumerGroupMetadata earlier = stays.groupMetadata();
            try (var joins = consumer("group")) {
                joins.subscribe(List.of("group"));
                await("a partition for each", () -> {
                    stays.poll(POLL);
                    joins.poll(POLL);
                    return stays.assignment().size() == 1 && joins.assignment().size() == 1;
                });
                check(stays.groupMetadata().generationId() > earlier.generationId(), "a rebalance makes a generation");
                refused(producer, offset, earlier);
                check(stays.committed(offset.keySet()).get(new TopicPartition("group", 0)) == null, "offsets stay");
                producer.beginTransaction();
                producer.sendOffsetsToTransaction(offset, stays.groupMetadata());
                producer.commitTransaction();
                same(offset, stays.committed(offset.keySet()));
            }
        }
    }

    /** The same with the consumer protocol (KIP-848), by name and by expression. */
    private static void consumers() throws Exception {
        create("consumers", 2);
        Map<TopicPartition, OffsetAndMetadata> offset = Map.of(new TopicPartition("consumers", 0), new OffsetAndMetadata(7));
        ConsumerGroupMetadata left;
        try (var gone = consumer("consumers", "consumer")) {
            gone.subscribe(List.of("consumers"));
            assigned(gone, 2);
            left = gone.groupMetadata();
        }
        try (var stays = consumer("consumers", "consumer"); var producer = producer("consumers")) {
            stays.subscribe(new SubscriptionPattern("consum[e]rs"));
            assigned(stays, 2);
            refused(producer, offset, left);
            try (var joins = consumer("consumers", "consumer")) {
                joins.subscribe(List.of("consumers"));
                await("a partition for each", () -> {
                    stays.poll(POLL);
                    joins.poll(POLL);
                    return stays.assignment().size() == 1 && joins.assignment().size() == 1;
                });
                producer.beginTransaction();
                producer.sendOffsetsToTransaction(offset, stays.groupMetadata());
                producer.commitTransaction();
                same(offset, stays.committed(offset.keySet()));
            }
            assigned(stays, 2);
        }
    }

    private static void refused(
            KafkaProducer<String, String> producer,
            Map<TopicPartition, OffsetAndMetadata> offset,
            ConsumerGroupMetadata member) {
        producer.beginTransaction();
        try {
            producer.sendOffsetsToTransaction(offset, member);
            producer.commitTransaction();
            check(false, "offsets are committed for " + member);
        } catch (CommitFailedException refused) {
            producer.abortTransaction();
        } catch (KafkaException wrapped) {
            check(wrapped.getCause() instanceof CommitFailedException, "refused by " + wrapped);
            producer.abortTransaction();
        }
    }

    private static void join(KafkaConsumer<String, String> consumer, int partitions) throws Exception {
        consumer.subscribe(List.of("group"));
        assigned(consumer, partitions);
    }

    private static void assigned(KafkaConsumer<String, String> consumer, int partitions) throws Exception {
        await("an assignment", () -> {
            consumer.poll(POLL);
            return consumer.assignment().size() == partitions;
        });
    }

    /** The committed values in each partition; waits until no transaction is open. */
    private static List<List<String>> read(String topic, int partitions) throws Exception {
        List<List<String>> values = new ArrayList<>();
        try (var committed = reader("read_committed"); var uncommitted = reader("read_uncommitted")) {
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 0; i < partitions; i++) {
                all.add(new TopicPartition(topic, i));
                values.add(new ArrayList<>());
            }
            await("the end of all transactions", () -> committed.endOffsets(all).equals(uncommitted.endOffsets(all)));
            var ends = uncommitted.endOffsets(all);
            committed.assign(all);
            committed.seekToBeginning(all);
            await("the end of " + topic, () -> {
                committed.poll(POLL).forEach(record -> values.get(record.partition()).add(record.value()));
                return all.stream().allMatch(partition -> committed.position(partition) == ends.get(partition));
            });
        }
        return values;
    }

    private static KafkaProducer<String, String> producer(String id) throws Exception {
        var settings = settings();
        settings.put("transactional.id", id);
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        if (!isProtocolKnown) {
            // The client's own word: nothing public says it.
            var field = KafkaProducer.class.getDeclaredField("transactionManager");
            field.setAccessible(true);
            var manager = (TransactionManager) field.get(producer);
            System.out.println("protocol " + (manager.isTransactionV2Enabled() ? "V2" : "V1"));
            isProtocolKnown = true;
        }
        return producer;
    }

    /** A member of a group that must not wait long to hear of a rebalance. */
    private static KafkaConsumer<String, String> consumer(String group) {
        return consumer(group, "classic");
    }

    private static KafkaConsumer<String, String> consumer(String group, String protocol) {
        var settings = settings();
        settings.putAll(Map.of("group.id", group, "group.protocol", protocol, "max.poll.records", 7));
        if (protocol.equals("classic")) {
            settings.put("heartbeat.interval.ms", 300);
        }
        settings.putAll(Map.of("isolation.level", "read_committed", "enable.auto.commit", false));
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static KafkaConsumer<String, String> reader(String isolation) {
        var settings = settings();
        settings.putAll(Map.of("isolation.level", isolation, "enable.auto.commit", false));
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private static Map<String, Object> settings() {
        return new HashMap<>(Map.of("bootstrap.servers", bootstrap));
    }

    private static void create(String topic, int partitions) throws Exception {
        try (var admin = Admin.create(settings())) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    private static void await(String what, BooleanSupplier done) throws Exception {
        long end = System.currentTimeMillis() + LIMIT_MS;
        while (!done.getAsBoolean()) {
            check(System.currentTimeMillis() < end, "waited in vain for " + what);
            Thread.sleep(10);
        }
    }

    private static void same(Object expected, Object found) {
        check(expected.equals(found), "expected " + expected + ", found " + found);
    }

    private static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }
}
