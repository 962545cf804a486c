// franz-go against a broker: franz SCENARIO BOOTSTRAP. Exit code 0 and "ok", or what went wrong.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const limit = 3 * time.Minute

var bootstrap = os.Args[2]

func check(ok bool, format string, args ...any) {
	if !ok {
		fmt.Printf("failed: "+format+"\n", args...)
		os.Exit(1)
	}
}

func must(err error) { check(err == nil, "%v", err) }

func client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...)}, opts...)...)
	must(err)
	return cl
}

func newTopic(ctx context.Context, partitions int32) string {
	name := fmt.Sprintf("franz-%x", rand.Uint64())
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, -1
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, topic)
	cl := client()
	defer cl.Close()
	response, err := request.RequestWith(ctx, cl)
	must(err)
	check(response.Topics[0].ErrorCode == 0, "create topic: error %d", response.Topics[0].ErrorCode)
	return name
}

func record(topic string, i int, partitions int32) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: int32(i) % partitions,
		Key:       fmt.Appendf(nil, "key %d", i%7),
		Value:     bytes.Repeat(fmt.Appendf(nil, "value %d ", i), 20),
		Headers:   []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "n", Value: nil}},
		Timestamp: time.UnixMilli(1_600_000_000_000 + int64(i)),
	}
}

// Sends numbered records round robin, and waits for every acknowledgement.
func produce(ctx context.Context, topic string, count int, partitions int32, opts ...kgo.Opt) {
	cl := client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))...)
	defer cl.Close()
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = record(topic, i, partitions)
	}
	must(cl.ProduceSync(ctx, records...).FirstErr())
	for i, r := range records {
		check(r.Offset == int64(i)/int64(partitions), "record %d lies at offset %d", i, r.Offset)
	}
}

func readAll(ctx context.Context, topic string, count int, partitions int32) {
	cl := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	got := 0
	for got < count {
		fetches := cl.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			i := int(r.Offset)*int(partitions) + int(r.Partition)
			want := record(topic, i, partitions)
			check(bytes.Equal(r.Key, want.Key) && bytes.Equal(r.Value, want.Value), "record %d: %q %q", i, r.Key, r.Value)
			check(r.Timestamp.Equal(want.Timestamp), "record %d: %v", i, r.Timestamp)
			check(fmt.Sprint(r.Headers) == fmt.Sprint(want.Headers), "record %d: %v", i, r.Headers)
			got++
		})
	}
	check(got == count, "%d records instead of %d", got, count)
}

func codec(ctx context.Context, codec kgo.CompressionCodec) {
	topic := newTopic(ctx, 3)
	produce(ctx, topic, 300, 3, kgo.ProducerBatchCompression(codec))
	readAll(ctx, topic, 300, 3)
}

func idempotent(ctx context.Context) { // franz-go's default
	topic := newTopic(ctx, 2)
	produce(ctx, topic, 5000, 2, kgo.RequiredAcks(kgo.AllISRAcks()))
	readAll(ctx, topic, 5000, 2)
}

// A member of a group that polls until it is closed.
type member struct {
	cl   *kgo.Client
	mu   sync.Mutex
	held map[int32]bool
	seen map[[2]int64]int
}

func join(ctx context.Context, topic string, opts ...kgo.Opt) *member {
	m := &member{held: map[int32]bool{}, seen: map[[2]int64]int{}}
	update := func(add bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range partitions[topic] {
				if add {
					m.held[p] = true
				} else {
					delete(m.held, p)
				}
			}
		}
	}
	m.cl = client(append(opts, kgo.ConsumerGroup("group-of-"+topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.OnPartitionsAssigned(update(true)), kgo.OnPartitionsRevoked(update(false)), kgo.OnPartitionsLost(update(false)))...)
	go func() {
		for {
			fetches := m.cl.PollFetches(ctx)
			if fetches.IsClientClosed() {
				return
			}
			must(fetches.Err())
			m.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { m.seen[[2]int64{int64(r.Partition), r.Offset}]++ })
			m.mu.Unlock()
		}
	}()
	return m
}

func until(ctx context.Context, what string, done func() bool) {
	for !done() {
		select {
		case <-ctx.Done():
			check(false, "waited in vain for %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func shares(members []*member) string {
	var counts []int
	for _, m := range members {
		m.mu.Lock()
		counts = append(counts, len(m.held))
		m.mu.Unlock()
	}
	sort.Ints(counts)
	return fmt.Sprint(counts)
}

// Without options with cooperative-sticky, franz-go's default.
func group(ctx context.Context, opts ...kgo.Opt) {
	topic := newTopic(ctx, 6)
	members := []*member{join(ctx, topic, opts...), join(ctx, topic, opts...)}
	until(ctx, "two members with three partitions each", func() bool { return shares(members) == "[3 3]" })
	members = append(members, join(ctx, topic, opts...))
	until(ctx, "three members with two partitions each", func() bool { return shares(members) == "[2 2 2]" })
	produce(ctx, topic, 600, 6)
	seen := func() (records, times int) {
		for _, m := range members {
			m.mu.Lock()
			records += len(m.seen)
			for _, n := range m.seen {
				times += n
			}
			m.mu.Unlock()
		}
		return
	}
	until(ctx, "all records", func() bool { records, _ := seen(); return records >= 600 })
	records, times := seen()
	check(records == 600 && times == 600, "600 records were seen as %d, %d times", records, times)
	must(members[2].cl.CommitUncommittedOffsets(ctx))
	members[2].cl.Close()
	until(ctx, "two members with three partitions each", func() bool { return shares(members[:2]) == "[3 3]" })
	members[0].cl.Close()
	members[1].cl.Close()
}

func offsets(ctx context.Context) {
	topic := newTopic(ctx, 2)
	produce(ctx, topic, 20, 2)
	first := client(kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for read := 0; read < 20; {
		fetches := first.PollFetches(ctx)
		must(fetches.Err())
		read += fetches.NumRecords()
	}
	must(first.CommitRecords(ctx, &kgo.Record{Topic: topic, Partition: 0, Offset: 6, LeaderEpoch: 0}))
	first.Close()

	cl := client()
	defer cl.Close()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = topic
	inGroup := kmsg.NewOffsetFetchRequestGroup()
	inGroup.Group = topic
	request.Groups = append(request.Groups, inGroup)
	response, err := request.RequestWith(ctx, cl)
	must(err)
	check(len(response.Groups) == 1 && len(response.Groups[0].Topics) == 1, "%+v", response)
	partitions := response.Groups[0].Topics[0].Partitions
	check(len(partitions) == 1 && partitions[0].Offset == 7, "%+v", partitions)

	second := client(kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer second.Close()
	next := map[int32]int64{0: 7, 1: 0} // partition 1 has no offset and starts at the beginning
	for next[0] < 10 || next[1] < 10 {
		fetches := second.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			check(r.Offset == next[r.Partition], "partition %d continues at %d", r.Partition, r.Offset)
			next[r.Partition]++
		})
	}
}

// Two sessions take records, write each to another topic, and abort every third transaction.
func transactions(ctx context.Context) {
	in, out := newTopic(ctx, 3), newTopic(ctx, 3)
	produce(ctx, in, 300, 3)
	working, stop := context.WithCancel(ctx)
	var members sync.WaitGroup
	var committed, aborted atomic.Int64
	for n := range 2 {
		s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(fmt.Sprintf("%s-%d", in, n)),
			kgo.ConsumerGroup("group-of-"+in), kgo.ConsumeTopics(in), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		must(err)
		members.Go(func() {
			defer s.Close()
			for round := 0; ; round++ {
				fetches := s.PollRecords(working, 10)
				if working.Err() != nil {
					return
				}
				must(fetches.Err())
				if fetches.NumRecords() == 0 {
					continue
				}
				must(s.Begin())
				fetches.EachRecord(func(r *kgo.Record) {
					s.Produce(ctx, &kgo.Record{Topic: out, Partition: r.Partition, Value: fmt.Append(nil, r.Offset)}, nil)
				})
				ended, err := s.End(ctx, kgo.TransactionEndTry(round%3 != 1))
				must(err)
				if ended {
					committed.Add(int64(fetches.NumRecords()))
				} else {
					aborted.Add(1)
				}
			}
		})
	}
	until(ctx, "all records to be taken", func() bool { return committed.Load() >= 300 })
	stop()
	members.Wait()
	check(committed.Load() == 300 && aborted.Load() > 1, "%d records taken, %d aborts", committed.Load(), aborted.Load())

	// One record more at the end of each partition, without a transaction: all before it is decided when it is read.
	last := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range int32(3) {
		must(last.ProduceSync(ctx, &kgo.Record{Topic: out, Partition: p, Value: []byte("last")}).FirstErr())
	}
	last.Close()
	reader := client(kgo.ConsumeTopics(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer reader.Close()
	next := map[int32]int{}
	for ended := 0; ended < 3; {
		fetches := reader.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) == "last" {
				ended++
				check(next[r.Partition] == 100, "partition %d has %d records", r.Partition, next[r.Partition])
				return
			}
			check(string(r.Value) == fmt.Sprint(next[r.Partition]), "partition %d: %s after %d", r.Partition, r.Value, next[r.Partition])
			next[r.Partition]++
		})
	}
}

// perf BOOTSTRAP TOPIC ACKS VALUE-BYTES SECONDS: produces to partition 0 as fast as it can; prints the bytes of values
// that were acknowledged and the CPU seconds that this took.
func perf() {
	topic, size, seconds := os.Args[3], 0, 0.0
	_, err := fmt.Sscan(os.Args[5], &size)
	must(err)
	_, err = fmt.Sscan(os.Args[6], &seconds)
	must(err)
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5 * time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(20000), kgo.ProducerBatchMaxBytes(1000000)}
	if os.Args[4] == "1" {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	cl := client(opts...)
	defer cl.Close()
	ctx, value := context.Background(), bytes.Repeat([]byte("x"), size)
	count := 0
	for begin := time.Now(); count%1024 != 0 || time.Since(begin).Seconds() < seconds; count++ {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: 0, Value: value}, func(_ *kgo.Record, err error) { must(err) })
	}
	must(cl.Flush(ctx))
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	fmt.Println(count*size, time.Duration(usage.Utime.Nano()+usage.Stime.Nano()).Seconds())
}

// steady BOOTSTRAP TOPIC PARTITIONS MILLISECONDS: sends a small record to each partition in turn, at this pace, until
// standard input ends, and prints a line for each outcome: the partition, or what failed. Its defaults, but for what is
// the same for librdkafka and Java (bench/client), and for its five seconds between two looks at who leads: a broker that
// dies sooner after one would cost the rest of them, whatever the others do.
func steady() {
	topic, partitions, pace := os.Args[3], int32(0), 0
	_, err := fmt.Sscan(os.Args[4], &partitions)
	must(err)
	_, err = fmt.Sscan(os.Args[5], &pace)
	must(err)
	cl := client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProduceRequestTimeout(time.Second), kgo.RequestTimeoutOverhead(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.MetadataMinAge(100*time.Millisecond))
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	ticks := time.NewTicker(time.Duration(pace) * time.Millisecond)
	for next := int32(0); ctx.Err() == nil; next = (next + 1) % partitions {
		record := &kgo.Record{Topic: topic, Partition: next, Value: []byte("a record of a few bytes")}
		cl.Produce(context.Background(), record, func(r *kgo.Record, err error) {
			if err != nil {
				fmt.Println("failed", err)
				return
			}
			fmt.Println(r.Partition)
		})
		<-ticks.C
	}
	must(cl.Flush(context.Background()))
	cl.Close()
}

func main() {
	switch os.Args[1] {
	case "perf":
		perf()
		return
	case "steady":
		steady()
		return
	case "sessions":
		sessions()
		return
	case "chain":
		chain()
		return
	case "small":
		small()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, scenario := range strings.Split(os.Args[1], ",") {
		switch scenario {
		case "none":
			codec(ctx, kgo.NoCompression())
		case "gzip":
			codec(ctx, kgo.GzipCompression())
		case "snappy":
			codec(ctx, kgo.SnappyCompression())
		case "lz4":
			codec(ctx, kgo.Lz4Compression())
		case "zstd":
			codec(ctx, kgo.ZstdCompression())
		case "idempotent":
			idempotent(ctx)
		case "group":
			group(ctx)
		case "consumers": // the consumer protocol (KIP-848)
			group(ctx, kgo.WithContext(context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
		case "offsets":
			offsets(ctx)
		case "transactions":
			transactions(ctx)
		default:
			check(false, "no scenario %s", scenario)
		}
		fmt.Println("ok", scenario)
	}
}
