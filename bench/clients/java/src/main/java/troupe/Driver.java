package troupe;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** The driver of the Java client: JSON lines on standard input and output, as package bench/clients describes them. */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration TIMEOUT = Duration.ofSeconds(30);

    private final String bootstrap;
    private final Admin admin;
    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", RangeAssignor.class.getName(), "roundrobin", RoundRobinAssignor.class.getName(),
        "sticky", StickyAssignor.class.getName(), "cooperative-sticky", CooperativeStickyAssignor.class.getName());

    private final KafkaConsumer<byte[], byte[]> consumer;
    private KafkaConsumer<byte[], byte[]> member; // in a group; null before it joins one

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        this.consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false,
            "fetch.max.wait.ms", 50), // what is still asked for another partition ends soon
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] args) throws IOException {
        Driver driver = new Driver(args[0]);
        ObjectNode hello = JSON.createObjectNode();
        hello.put("client", "java").put("version", AppInfoParser.getVersion());
        System.out.println(hello);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                driver.answer(JSON.readTree(line), answer);
            } catch (Exception e) { // whatever it is, the test wants to know
                answer.put("error", e.toString());
            }
            System.out.println(answer);
        }
        driver.admin.close(Duration.ZERO);
    }

    private void answer(JsonNode request, ObjectNode answer) throws Exception {
        String topic = request.path("topic").asText();
        switch (request.path("op").asText()) {
            case "produce" -> produce(request, topic);
            case "consume" -> consume(request, topic, answer.putArray("records"));
            case "create" -> {
                NewTopic created = new NewTopic(topic, request.path("partitions").asInt(), (short) 1);
                admin.createTopics(List.of(created.configs(configs(request)))).all().get();
            }
            case "describe" -> describe(topic, answer);
            case "alter" -> {
                List<AlterConfigOp> changes = new ArrayList<>();
                configs(request).forEach((name, value) ->
                    changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
                admin.incrementalAlterConfigs(Map.of(resource(topic), changes)).all().get();
            }
            case "grow" -> admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(request.path("partitions").asInt()))).all().get();
            case "delete" -> admin.deleteTopics(List.of(topic)).all().get();
            case "remove" -> remove(request);
            case "join" -> join(request, topic);
            case "poll" -> poll(request, answer.putArray("records")); // which stay there when the commit fails
            case "leave" -> member.close();
            default -> throw new IllegalArgumentException("unknown op " + request.path("op"));
        }
    }

    private void remove(JsonNode request) throws Exception {
        List<MemberToRemove> members = new ArrayList<>();
        request.path("instances").forEach(instance -> members.add(new MemberToRemove(instance.asText())));
        var options = members.isEmpty()
            ? new RemoveMembersFromConsumerGroupOptions() // all of them
            : new RemoveMembersFromConsumerGroupOptions(members);
        admin.removeMembersFromConsumerGroup(request.path("group").asText(), options).all().get();
    }

    private void produce(JsonNode request, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", request.path("codec").asText());
        config.put("acks", request.path("acks").asText());
        config.put("enable.idempotence", request.path("idempotent").asBoolean());
        config.put("linger.ms", 20);
        config.put("max.request.size", 2_000_000);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (JsonNode r : request.path("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode h : r.path("headers")) {
                    headers.add(new RecordHeader(h.path("key").asText(), bytes(h.get("value"))));
                }
                answers.add(producer.send(new ProducerRecord<>(topic, r.path("partition").asInt(),
                    r.path("timestamp").asLong(), bytes(r.get("key")), bytes(r.get("value")), headers)));
            }
            producer.flush();
            for (Future<RecordMetadata> a : answers) {
                a.get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
            }
        }
    }

    private void consume(JsonNode request, String topic, ArrayNode records) {
        TopicPartition place = new TopicPartition(topic, request.path("partition").asInt());
        int count = request.path("count").asInt();
        long at = request.path("at").asLong();
        consumer.assign(List.of(place));
        switch (request.path("from").asText()) {
            case "beginning" -> consumer.seekToBeginning(List.of(place));
            case "end" -> consumer.seekToEnd(List.of(place));
            case "offset" -> consumer.seek(place, at);
            case "timestamp" -> consumer.seek(place, consumer.offsetsForTimes(Map.of(place, at)).get(place).offset());
            default -> throw new IllegalArgumentException("consume from " + request.path("from"));
        }
        long deadline = System.nanoTime() + TIMEOUT.toNanos();
        while (records.size() < count) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("timed out after " + records.size() + " of " + count + " records");
            }
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                if (records.size() < count) {
                    write(r, records.addObject());
                }
            }
        }
    }

    private void join(JsonNode request, String topic) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", request.path("group").asText(),
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "fetch.max.wait.ms", 50));
        String assignor = request.path("assignor").asText();
        if (request.path("protocol").asText().equals("consumer")) {
            config.put("group.protocol", "consumer");
            config.put("group.remote.assignor", assignor);
        } else {
            config.put("partition.assignment.strategy", ASSIGNORS.get(assignor));
            config.put("session.timeout.ms", 6000);
            config.put("heartbeat.interval.ms", 500);
        }
        if (!request.path("instance").asText().isEmpty()) {
            config.put("group.instance.id", request.path("instance").asText());
        }
        member = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        if (request.path("pattern").asBoolean()) {
            member.subscribe(new SubscriptionPattern(topic));
        } else {
            member.subscribe(List.of(topic));
        }
    }

    private void poll(JsonNode request, ArrayNode records) {
        for (ConsumerRecord<byte[], byte[]> r : member.poll(Duration.ofMillis(request.path("millis").asInt()))) {
            write(r, records.addObject());
        }
        if (!records.isEmpty()) {
            try {
                member.commitSync();
            } catch (CommitFailedException | RebalanceInProgressException e) {
                // Somebody else will read the records.
            }
        }
    }

    private static void write(ConsumerRecord<byte[], byte[]> r, ObjectNode out) {
        out.put("partition", r.partition()).put("offset", r.offset()).put("timestamp", r.timestamp());
        out.put("key", r.key()).put("value", r.value());
        ArrayNode headers = out.putArray("headers");
        for (Header h : r.headers()) {
            headers.addObject().put("key", h.key()).put("value", h.value());
        }
    }

    private void describe(String topic, ObjectNode answer) throws Exception {
        answer.put("partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
        ObjectNode configs = answer.putObject("configs");
        for (ConfigEntry e : admin.describeConfigs(List.of(resource(topic))).all().get().get(resource(topic)).entries()) {
            configs.put(e.name(), e.value() == null ? "" : e.value());
        }
    }

    private static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    private static Map<String, String> configs(JsonNode request) {
        Map<String, String> configs = new HashMap<>();
        request.path("configs").fields().forEachRemaining(e -> configs.put(e.getKey(), e.getValue().asText()));
        return configs;
    }

    private static byte[] bytes(JsonNode text) throws IOException {
        return text == null || text.isNull() ? null : text.binaryValue();
    }
}
