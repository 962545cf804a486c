// A Kafka Streams application that counts words, exactly once: lines come from one topic, each new count of a word goes
// to another. Every word goes through a topic of its own to its count in a state store. Runs until it is killed.
//
// Arguments: bootstrap servers, input topic, output topic, state directory, then settings as NAME=VALUE.

import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

public class Streams {
    public static void main(String[] args) {
        var strings = Serdes.String();
        var builder = new StreamsBuilder();
        builder.stream(args[1], Consumed.with(strings, strings))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with("words", strings, strings))
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues(count -> count.toString())
            .to(args[2], Produced.with(strings, strings));
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("state.dir", args[3]);
        settings.put("application.id", "word-count");
        settings.put("processing.guarantee", "exactly_once_v2");
        // Each count is written, not only the last one before a commit.
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("default.key.serde", strings.getClass());
        settings.put("default.value.serde", strings.getClass());
        for (int i = 4; i < args.length; i++) {
            String[] setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        var streams = new KafkaStreams(builder.build(settings), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
    }
}
