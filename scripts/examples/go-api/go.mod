module examples/go-api

go 1.19
