package process_test

import (
	"context"
	"fmt"
	"os"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// Which processes run which build of a library.
func ExampleScan() {
	o := process.ScanOptions{PIDs: []int{os.Getpid()}}
	err := process.Scan(context.Background(), o,
		func(ctx context.Context, p *process.Process, err error) {
			if err != nil {
				fmt.Println(err) // gone, or hidden from us: go on with the others
				return
			}
			libraries, err := p.Libraries(ctx)
			if err != nil {
				fmt.Println(err)
				return
			}
			for _, l := range libraries {
				if l.Main {
					fmt.Println(l.Type, l.Problem)
				}
			}
		})
	fmt.Println(err)
	// Output:
	// ET_EXEC <nil>
	// <nil>
}
