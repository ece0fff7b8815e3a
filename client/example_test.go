package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// Start an instance, and find the person's task that it waits at.
func Example() {
	key, err := os.ReadFile("/etc/underseal/api-key")
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{URL: "http://127.0.0.1:8700", Key: strings.TrimSpace(string(key))})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	// The application's number is the idempotency key: whoever sends it again
	// gets the same receipt, and there is still one instance.
	receipt, err := c.Idempotent("application-4711").Start(ctx, api.StartRequest{
		Process:   "loan",
		Variables: client.Variables(map[string]any{"applicant": map[string]any{"name": "Ann Example"}, "amount": 12000}),
	})
	if client.IsInvalid(err) {
		log.Fatal("this application will never be accepted: ", err)
	}
	if err != nil {
		log.Fatal(err)
	}
	instance, err := c.Instance(ctx, receipt.Instance)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range instance.Waiting {
		fmt.Println(w.Element, "waits for a", w.For)
	}
}

// Carry out the jobs of a service task until Ctrl-C.
func ExampleWorker() {
	c, err := client.New(client.Config{URL: "http://127.0.0.1:8700", Key: os.Getenv("UNDERSEAL_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	w := c.NewWorker(client.WorkerConfig{Name: "credit-1", Concurrency: 8})
	w.Handle("credit-check", func(_ context.Context, job client.Job) (client.Result, error) {
		var in struct {
			Applicant struct{ Name string }
			Amount    int
		}
		if err := job.Bind(&in); err != nil {
			return nil, client.Fail{Message: err.Error()} // no retry would help: an incident
		}
		switch {
		case in.Applicant.Name == "":
			return nil, client.BPMNError{Code: "INCOMPLETE", Message: "the applicant has no name"}
		case in.Amount > 1_000_000:
			return nil, errors.New("the bureau does not answer") // tried again, later
		}
		return client.Result{"score": 640}, nil
	})

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
