package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// small BOOTSTRAP TOPIC PARTITIONS PRODUCERS VALUE-BYTES SECONDS: so many producers at once commit transactions of one
// record each, as fast as they can; prints how many were committed and the CPU seconds that this took.
func small() {
	topic, partitions, producers, size, seconds := os.Args[3], int32(0), 0, 0, 0.0
	for i, into := range []any{&partitions, &producers, &size, &seconds} {
		_, err := fmt.Sscan(os.Args[4+i], into)
		must(err)
	}
	value, ctx := bytes.Repeat([]byte("x"), size), context.Background()
	clients := make([]*kgo.Client, producers)
	for n := range clients {
		clients[n] = client(kgo.TransactionalID(fmt.Sprintf("%s-%d", topic, n)), kgo.ProducerLinger(0),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		defer clients[n].Close()
	}
	var committed atomic.Int64
	var working sync.WaitGroup
	begin := time.Now()
	for n, cl := range clients {
		working.Go(func() {
			for time.Since(begin).Seconds() < seconds {
				must(cl.BeginTransaction())
				must(cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(n) % partitions, Value: value}).FirstErr())
				must(cl.EndTransaction(ctx, kgo.TryCommit))
				committed.Add(1)
			}
		})
	}
	working.Wait()
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	fmt.Println(committed.Load(), time.Duration(usage.Utime.Nano()+usage.Stime.Nano()).Seconds())
}
