package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// sessions APPS MTLS FOLDER SECONDS: clients whose sessions end while they work, as in python/sessions.py.
func sessions() {
	apps, mtls, folder, seconds := os.Args[2], os.Args[3], os.Args[4], 0.0
	_, err := fmt.Sscan(os.Args[5], &seconds)
	must(err)
	content := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		must(err)
		return string(text)
	}
	trusted := x509.NewCertPool()
	check(trusted.AppendCertsFromPEM([]byte(content("ca.crt"))), "ca.crt has no certificate")
	password := scram.Auth{User: "orders", Pass: content("password")}
	byPassword := func(option kgo.Opt) []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(apps), kgo.DialTLSConfig(&tls.Config{RootCAs: trusted}), option}
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "user.crt"), filepath.Join(folder, "user.key"))
	must(err)
	logins := map[string][]kgo.Opt{
		"SCRAM-SHA-256": byPassword(kgo.SASL(password.AsSha256Mechanism())),
		"SCRAM-SHA-512": byPassword(kgo.SASL(password.AsSha512Mechanism())),
		"PLAIN":         byPassword(kgo.SASL(plain.Auth{User: password.User, Pass: password.Pass}.AsMechanism())),
		"OAUTHBEARER": byPassword(kgo.SASL(oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			return oauth.Auth{Token: content("token")}, nil
		}))),
		"TLS": {kgo.SeedBrokers(mtls),
			kgo.DialTLSConfig(&tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{certificate}})},
	}
	var all sync.WaitGroup
	for mechanism, login := range logins {
		all.Go(func() {
			records := outlive(login, "franz-go-"+strings.ToLower(mechanism), time.Duration(seconds*float64(time.Second)))
			fmt.Println("ok", mechanism, records)
		})
	}
	all.Wait()
}

// Produces in transactions and reads in a group for so long; how many records were committed.
func outlive(login []kgo.Opt, topic string, length time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	started := func(opts ...kgo.Opt) *kgo.Client {
		// A producer that is to try again waits for metadata first, by default for as long as two sessions last.
		opts = append(opts, kgo.MetadataMinAge(250*time.Millisecond))
		cl, err := kgo.NewClient(append(opts, login...)...)
		must(err)
		return cl
	}
	producer := started(kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	consumer := started(kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	defer consumer.Close()
	var committed, taken []string
	take := func(wait time.Duration) {
		waiting, stop := context.WithTimeout(ctx, wait)
		defer stop()
		fetches := consumer.PollFetches(waiting)
		if err := fetches.Err(); !errors.Is(err, context.DeadlineExceeded) {
			must(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { taken = append(taken, string(r.Value)) })
		if fetches.NumRecords() > 0 {
			must(consumer.CommitUncommittedOffsets(ctx))
		}
	}
	for number, begin := 0, time.Now(); time.Since(begin) < length; number++ {
		commits := number%4 != 3
		var records []*kgo.Record
		for partition := range int32(3) {
			value := fmt.Sprintf("%d/%d", number, partition)
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)})
			if commits {
				committed = append(committed, value)
			}
		}
		must(producer.BeginTransaction())
		must(producer.ProduceSync(ctx, records...).FirstErr())
		must(producer.EndTransaction(ctx, kgo.TransactionEndTry(commits)))
		take(100 * time.Millisecond)
	}
	for len(taken) < len(committed) && ctx.Err() == nil {
		take(time.Second)
	}
	slices.Sort(committed)
	slices.Sort(taken)
	check(slices.Equal(committed, taken), "%s: %d committed, %d read", topic, len(committed), len(taken))
	return len(committed)
}
