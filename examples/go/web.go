// Command web answers every request with a greeting, on the port that the dyno is given.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", hello)
	addr := ":" + os.Getenv("PORT")
	log.Println("listening on", addr)
	log.Fatal(http.ListenAndServe(addr, nil))
}

func hello(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "hello, world")
}
