// Command drain stops every container of a node as its image asks for, all at once, as a machine does that shuts down.
//
//	drain unix:///run/containerd/containerd.sock SECONDS
//
// The kubelet must have been stopped before, or it starts them again.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: drain SOCKET SECONDS")
		os.Exit(2)
	}
	seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err == nil {
		err = drain(os.Args[1], seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

func drain(socket string, seconds int64) error {
	connection, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	runtime := cri.NewRuntimeServiceClient(connection)
	// A container that ignores its signal is killed after the time it was given; that takes a moment more.
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds+10)*time.Second)
	defer cancel()
	running := &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}
	listed, err := runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: running})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	var (
		group  sync.WaitGroup
		lock   sync.Mutex
		failed error
	)
	for _, container := range listed.Containers {
		group.Go(func() {
			_, err := runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: container.Id, Timeout: seconds})
			if err != nil {
				lock.Lock()
				defer lock.Unlock()
				failed = fmt.Errorf("stopping %s: %w", container.Metadata.GetName(), err)
			}
		})
	}
	group.Wait()
	return failed
}
