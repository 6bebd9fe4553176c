// Runs Porcupine for the bench beside it: copied into a checkout of Porcupine, whose own tests hold
// the parsers and the models, and built there with `go test -c`.
//
// usage: driver KIND SECONDS FILE…, where KIND is etcd, kv, kv-whole or kv-explained. It prints a
// line per file, `NANOSECONDS VERDICT`, and last the peak of its memory in kB. The time is that which
// the process had a processor for, without reading the file.
package porcupine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	words := os.Args[1:]
	seconds, err := strconv.Atoi(words[1])
	if err != nil {
		panic(err)
	}
	deadline := time.Duration(seconds) * time.Second
	for _, file := range words[2:] {
		var model Model
		var events []Event
		switch words[0] {
		case "etcd":
			model, events = etcdModel, parseJepsenLog(file)
		case "kv", "kv-explained":
			model, events = kvModel, parseKvLog(file)
		case "kv-whole":
			model, events = kvNoPartitionModel, parseKvLog(file)
		default:
			panic(words[0])
		}
		runtime.GC()
		begin := onProcessor()
		var result CheckResult
		if words[0] == "kv-explained" {
			result, _ = CheckEventsVerbose(model, events, deadline)
		} else {
			result = CheckEventsTimeout(model, events, deadline)
		}
		fmt.Printf("%d %s\n", onProcessor()-begin, result)
	}
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Println(strings.Fields(line)[1])
		}
	}
	os.Exit(0)
}

func onProcessor() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
