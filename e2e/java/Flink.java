// A Flink job that counts the records of each key, exactly once, in a process that is its own small cluster. For each
// record "KEY NUMBER" it writes "KEY NUMBER COUNT" to two topics, in transactions that checkpoints commit. One sink
// gives each transaction a new id, the other takes ids from a pool.
//
// The job fails three times on purpose and says so: with open transactions, with transactions that are prepared and
// not committed, and after commits of which Flink does not know. Each time Flink restores it from its last checkpoint.
// It runs until it is killed.
//
// Arguments: bootstrap servers, input topic, the sinks' output topics, the NUMBER at which the first failure comes.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

public class Flink {
    enum Failure { WITH_OPEN_TRANSACTIONS, BEFORE_COMMITS, AFTER_COMMITS, NONE }

    /** Statics outlive the job's restarts: all of it is one process. */
    static volatile Failure next = Failure.WITH_OPEN_TRANSACTIONS;
    /** The checkpoint whose transactions are held back until the job fails. */
    static volatile long held = -1;

    public static void main(String[] args) throws Exception {
        var settings = Configuration.fromMap(Map.of(
            "parallelism.default", "2",
            "execution.checkpointing.interval", "500ms",
            "execution.checkpointing.timeout", "20s",
            "execution.checkpointing.tolerable-failed-checkpoints", "1000",
            "restart-strategy.type", "fixed-delay",
            "restart-strategy.fixed-delay.attempts", "1000",
            "restart-strategy.fixed-delay.delay", "100ms",
            "taskmanager.memory.network.min", "8mb",
            "taskmanager.memory.network.max", "8mb",
            "taskmanager.memory.managed.size", "1mb"));
        var flink = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        var source = KafkaSource.<String>builder()
            .setBootstrapServers(args[0])
            .setTopics(args[1])
            .setGroupId("flink")
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .setProperty("isolation.level", "read_committed")
            .build();
        var counts = flink.fromSource(source, WatermarkStrategy.noWatermarks(), "records")
            .map(new Pass(Integer.parseInt(args[4])))
            .keyBy(Flink::key)
            .process(new Count());
        counts.sinkTo(sink(args[0], args[2], TransactionNamingStrategy.INCREMENTING));
        counts.sinkTo(sink(args[0], args[3], TransactionNamingStrategy.POOLING));
        flink.execute();
    }

    static String key(String line) {
        return line.substring(0, line.indexOf(' '));
    }

    static KafkaSink<String> sink(String bootstrap, String topic, TransactionNamingStrategy naming) {
        return KafkaSink.<String>builder()
            .setBootstrapServers(bootstrap)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix("flink-" + topic)
            .setTransactionNamingStrategy(naming)
            .setProperty("transaction.timeout.ms", "60000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<String>builder()
                .setTopic(topic)
                .setKeySerializationSchema(line -> key(line).getBytes(UTF_8))
                .setValueSerializationSchema(new SimpleStringSchema())
                .build())
            .build();
    }

    /** Fails if it is this failure's turn. */
    static synchronized void fail(Failure failure) {
        if (next == failure) {
            next = Failure.values()[failure.ordinal() + 1];
            System.out.println("failed: " + failure);
            throw new IllegalStateException(failure.toString());
        }
    }

    /** Holds this checkpoint's transactions back if the job is to fail before it commits them; whether it does. */
    static synchronized boolean hold(long checkpoint) {
        if (next == Failure.BEFORE_COMMITS) {
            held = checkpoint;
        }
        return next == Failure.BEFORE_COMMITS;
    }

    /** Passes records on: slowly until the last failure, so that some come before and after each checkpoint. */
    static class Pass implements MapFunction<String, String>, CheckpointListener {
        final int first;

        Pass(int first) {
            this.first = first;
        }

        @Override
        public String map(String line) throws Exception {
            if (next != Failure.NONE) {
                Thread.sleep(1);
            }
            if (Integer.parseInt(line.substring(line.indexOf(' ') + 1)) >= first) {
                fail(Failure.WITH_OPEN_TRANSACTIONS);
            }
            return line;
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (checkpoint == held) {
                fail(Failure.BEFORE_COMMITS);
            }
        }
    }

    static class Count extends KeyedProcessFunction<String, String, String>
            implements CheckpointedFunction, CheckpointListener {
        transient ValueState<Integer> count;
        /** Whether records came since the last checkpoint, and before it. */
        boolean some;
        boolean committing;
        boolean holding;

        @Override
        public void initializeState(FunctionInitializationContext context) {
            context.getRestoredCheckpointId().ifPresent(id -> System.out.println("restored from checkpoint " + id));
        }

        @Override
        public void processElement(String line, Context context, Collector<String> out) throws Exception {
            // This thread commits too. It is interrupted when the job fails; the end is for a checkpoint that does.
            for (int i = 0; holding && i < 1000; i++) {
                Thread.sleep(10);
            }
            holding = false;
            some = true;
            if (count == null) {
                count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Integer.class));
            }
            int now = count.value() == null ? 1 : count.value() + 1;
            count.update(now);
            out.collect(line + " " + now);
        }

        @Override
        public void snapshotState(FunctionSnapshotContext context) {
            committing = some;
            holding = committing && hold(context.getCheckpointId());
            some = false;
        }

        /** Sinks are notified before the functions whose records they take. */
        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (committing) {
                fail(Failure.AFTER_COMMITS);
            }
        }
    }
}
