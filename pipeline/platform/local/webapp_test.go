package local_test

// webSource is the app of these tests: one that does on demand what apps do well, and badly.
const webSource = `package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func sleep(s string) {
	d, _ := time.ParseDuration(s)
	time.Sleep(d)
}

// hijack takes the connection away from the server, writes and closes.
func hijack(w http.ResponseWriter, text string) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err == nil {
		rw.WriteString(text)
		rw.Flush()
		c.Close()
	}
}

func main() {
	sleep(os.Getenv("BOOT_DELAY"))
	version := os.Getenv("HEROKU_RELEASE_VERSION")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		dir, _ := os.Getwd()
		fmt.Fprintf(w, "hello, world\nmessage=%s\ndir=%s\nhost=%s\n", os.Getenv("MESSAGE"), dir, r.Host)
	})
	http.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) { os.Exit(7) })
	http.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", version, os.Getenv("DYNO"), r.URL.RawQuery)
	})
	http.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %d %x", version, n, h.Sum(nil))
	})
	http.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) })
	http.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "uri": r.RequestURI, "encoding": r.TransferEncoding})
	})
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		for i := range n {
			fmt.Fprintf(w, "%s %d\n", version, i)
			w.(http.Flusher).Flush()
			sleep(r.FormValue("every"))
		}
	})
	http.HandleFunc("/talk", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				fmt.Fprintf(w, "got %s", b[:n])
				w.(http.Flusher).Flush()
			}
			if err != nil {
				return
			}
		}
	})
	http.HandleFunc("/no", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	http.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) { sleep(r.FormValue("for")) })
	http.HandleFunc("/drop", func(w http.ResponseWriter, r *http.Request) { hijack(w, "") })
	http.HandleFunc("/junk", func(w http.ResponseWriter, r *http.Request) { hijack(w, "what is this\r\n\r\n") })
	http.HandleFunc("/half", func(w http.ResponseWriter, r *http.Request) {
		hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
	})
	http.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(rw, "echo "+line)
			rw.Flush()
		}
	})
	server := &http.Server{Addr: os.Getenv("BIND") + ":" + os.Getenv("PORT")}
	if os.Getenv("PATIENT") != "" {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		go func() {
			<-c
			fmt.Println("finishing")
			server.Shutdown(context.Background())
			os.Exit(0)
		}()
	}
	fmt.Println("listening on", os.Getenv("PORT"))
	l, err := net.Listen("tcp", server.Addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	deaf := false
	http.HandleFunc("/deaf", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("DYNO") == r.URL.RawQuery {
			deaf = true
			l.Close()
			fmt.Fprint(w, "deaf")
		}
	})
	fmt.Println(server.Serve(l))
	if deaf || os.Getenv("PATIENT") != "" {
		time.Sleep(time.Hour)
	}
}
`
