// Command probe is what the cluster's tests run in pods: it does as it is asked over HTTP.
//
//	/name                who answers
//	/write?file=F&text=T write and sync a file
//	/read?file=F         read it
//	/look?host=H         the addresses of a name
//	/get?url=U           fetch another page
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	answers := map[string]func(r *http.Request) (string, error){
		"/name": func(*http.Request) (string, error) { return os.Hostname() },
		"/write": func(r *http.Request) (string, error) {
			return "written", write(r.FormValue("file"), r.FormValue("text"))
		},
		"/read": func(r *http.Request) (string, error) {
			raw, err := os.ReadFile(r.FormValue("file"))
			return string(raw), err
		},
		"/look": func(r *http.Request) (string, error) {
			found, err := net.LookupHost(r.FormValue("host"))
			return strings.Join(found, " "), err
		},
		"/get": func(r *http.Request) (string, error) {
			response, err := client.Get(r.FormValue("url"))
			if err != nil {
				return "", err
			}
			defer response.Body.Close()
			raw, err := io.ReadAll(response.Body)
			return string(raw), err
		},
	}
	for path, answer := range answers {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, text)
		})
	}
	if err := http.ListenAndServe(":8080", nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(path, text string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}
