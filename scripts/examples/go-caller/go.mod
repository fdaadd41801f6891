module examples/go-caller

go 1.19
