// One member of a chain of transactional jobs with Kafka's own clients: e2e/src/chain/job.rs documents its arguments
// and what it prints.

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Chain {
    private static final Duration POLL = Duration.ofMillis(20);

    private static volatile boolean ends;

    private final String client;
    private final String output;
    private final int partitions;
    private final KafkaConsumer<String, String> consumer;
    private final KafkaProducer<String, String> producer;
    private int sequence;

    public static void main(String[] args) throws Exception {
        var waiting = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException error) {
                // Nobody is left to say that it ends.
            }
            ends = true;
        });
        waiting.setDaemon(true);
        waiting.start();
        var member = new Chain(args);
        while (!ends) {
            member.transform();
        }
        member.consumer.close();
        member.producer.close();
    }

    private Chain(String[] args) {
        int stage = Integer.parseInt(args[1]);
        client = args[3];
        partitions = Integer.parseInt(args[4]);
        output = "chain-" + (stage + 1);
        Map<String, Object> producing = new HashMap<>(Map.of("bootstrap.servers", args[0], "linger.ms", 0));
        producing.putAll(Map.of("transactional.id", "stage-" + stage + "-" + args[2], "transaction.timeout.ms", 20_000));
        producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        Map<String, Object> consuming = new HashMap<>(Map.of("bootstrap.servers", args[0], "group.id", "stage-" + stage));
        consuming.putAll(Map.of("isolation.level", "read_committed", "enable.auto.commit", false));
        consuming.putAll(Map.of("auto.offset.reset", "earliest", "fetch.max.wait.ms", 50, "max.poll.records", 50));
        if (args[5].equals("consumer")) {
            consuming.put("group.protocol", "consumer");
        } else {
            // With the consumer protocol the coordinator says what a session is.
            consuming.putAll(Map.of("session.timeout.ms", 6_000, "heartbeat.interval.ms", 1_000));
            var assignor = args[5].equals("eager") ? "RangeAssignor" : "CooperativeStickyAssignor";
            consuming.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
        }
        if (args.length > 6) {
            consuming.put("group.instance.id", args[6]);
        }
        consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(Set.of("chain-" + stage), new ConsumerRebalanceListener() {
            public void onPartitionsRevoked(Collection<TopicPartition> revoked) {}

            public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                assigned.forEach(partition -> report("assigned " + partition.partition()));
            }
        });
    }

    /** One transaction, if there is something to take. */
    private void transform() {
        ConsumerRecords<String, String> taken = consumer.poll(POLL);
        if (taken.isEmpty()) {
            return;
        }
        taken.forEach(record -> report("polled " + record.partition() + " " + record.offset() + " " + record.value()));
        report("begun");
        try {
            producer.beginTransaction();
            taken.forEach(this::send);
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (TopicPartition partition : taken.partitions()) {
                var records = taken.records(partition);
                long next = records.get(records.size() - 1).offset() + 1;
                report("offsets " + partition.partition() + " " + records.get(0).offset() + " " + next);
                offsets.put(partition, new OffsetAndMetadata(next));
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            producer.commitTransaction();
            report("ended committed");
        } catch (KafkaException error) {
            // Not allowed where another producer has fenced this one, or nobody knows whether it is committed.
            producer.abortTransaction();
            report("ended aborted");
            rewind();
        }
    }

    private void send(ConsumerRecord<String, String> record) {
        report("sent " + sequence);
        // All records of a partition are written to one partition, so each key keeps its order.
        int to = (record.partition() + 1) % partitions;
        producer.send(new ProducerRecord<>(output, to, record.key(), client + "-" + sequence + " "));
        sequence++;
    }

    /** Goes back to where its group is. */
    private void rewind() {
        var assigned = consumer.assignment();
        var committed = consumer.committed(assigned);
        for (TopicPartition partition : assigned) {
            report("assigned " + partition.partition());
            if (committed.get(partition) == null) {
                consumer.seekToBeginning(Set.of(partition));
            } else {
                consumer.seek(partition, committed.get(partition).offset());
            }
        }
    }

    /** At once, so that a member that is killed leaves whole lines. */
    private static void report(String line) {
        byte[] bytes = (line + "\n").getBytes(java.nio.charset.StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }
}
