package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A call that has not ended after so long will not: the process ends, and another is started.
const stuck = 60 * time.Second

// chain BOOTSTRAP STAGE MEMBER CLIENT PARTITIONS GROUP [INSTANCE]: one member of a chain of transactional jobs;
// e2e/src/chain/job.rs documents the arguments and what it prints.
func chain() {
	stage, partitions := 0, int32(0)
	_, err := fmt.Sscan(os.Args[3], &stage)
	must(err)
	member, client := os.Args[4], os.Args[5]
	_, err = fmt.Sscan(os.Args[6], &partitions)
	must(err)
	input, output := fmt.Sprintf("chain-%d", stage), fmt.Sprintf("chain-%d", stage+1)

	held := map[int32]bool{}
	var mu sync.Mutex
	update := func(add bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range partitions[input] {
				if add {
					held[p] = true
					report("assigned %d", p)
				} else {
					delete(held, p)
				}
			}
		}
	}
	ctx := context.Background()
	opts := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.TransactionalID(fmt.Sprintf("stage-%d-%s", stage, member)),
		kgo.TransactionTimeout(20 * time.Second), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumerGroup(fmt.Sprintf("stage-%d", stage)), kgo.ConsumeTopics(input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(), kgo.FetchMaxWait(50 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(update(true)), kgo.OnPartitionsRevoked(update(false)), kgo.OnPartitionsLost(update(false)),
	}
	switch os.Args[7] {
	case "eager":
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	case "cooperative":
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case "consumer":
		opts = append(opts, kgo.WithContext(context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
	}
	if len(os.Args) > 8 {
		opts = append(opts, kgo.InstanceID(os.Args[8]))
	}
	session, err := kgo.NewGroupTransactSession(opts...)
	must(err)

	var ends atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ends.Store(true)
	}()
	watchdog := time.AfterFunc(stuck, func() { os.Exit(1) })
	for sequence := 0; !ends.Load(); watchdog.Reset(stuck) {
		polling, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		fetches := session.PollRecords(polling, 50)
		cancel()
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		first, next := map[int32]int64{}, map[int32]int64{}
		for _, r := range records {
			report("polled %d %d %s", r.Partition, r.Offset, r.Value)
			if _, has := first[r.Partition]; !has {
				first[r.Partition] = r.Offset
			}
			next[r.Partition] = r.Offset + 1
		}
		report("begun")
		must(session.Begin())
		var failed atomic.Bool
		for _, r := range records {
			report("sent %d", sequence)
			value := fmt.Appendf(nil, "%s-%d ", client, sequence)
			// All records of a partition are written to one partition, so each key keeps its order.
			out := &kgo.Record{Topic: output, Partition: (r.Partition + 1) % partitions, Key: r.Key, Value: value}
			session.Produce(ctx, out, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
			sequence++
		}
		must(session.Client().Flush(ctx))
		for p, offset := range next {
			report("offsets %d %d %d", p, first[p], offset)
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(!failed.Load()))
		must(err)
		if committed {
			report("ended committed")
			continue
		}
		report("ended aborted")
		// The session has gone back to where its group is.
		mu.Lock()
		for p := range held {
			report("assigned %d", p)
		}
		mu.Unlock()
	}
	session.Close()
}

// One write for a line, so that a member that is killed leaves whole lines.
func report(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}
