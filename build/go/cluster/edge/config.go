package edge

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
)

type object = map[string]any

// caddyConfig renders the one configuration that Caddy gets for the life of the process.
func caddyConfig(c Config) ([]byte, error) {
	_, port, err := net.SplitHostPort(c.HTTPS[0])
	if err != nil {
		return nil, fmt.Errorf("--https %s: %w", c.HTTPS[0], err)
	}
	return json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "WARN", "writer": object{"output": "stderr"}}}},
		"storage": object{"module": "file_system", "root": filepath.Join(c.CA, "caddy")},
		"apps": object{
			"http": object{"grace_period": "5s", "servers": servers(c, port)},
			"tls": object{
				"disable_storage_clean": true,
				"automation": object{
					"on_demand": object{"permission": object{"module": "local_edge"}},
					"policies": []object{{
						"on_demand":       true,
						"get_certificate": []object{{"via": "local_edge"}},
						"issuers":         []object{{"module": "local_edge"}},
					}},
				},
			},
		},
	})
}

func servers(c Config, httpsPort string) object {
	common := func(listen []string, protocols ...string) object {
		return object{
			"listen":              listen,
			"automatic_https":     object{"disable": true},
			"protocols":           protocols,
			"read_header_timeout": "30s",
			"idle_timeout":        "5m",
		}
	}
	secure := common(c.HTTPS, "h1", "h2")
	secure["tls_connection_policies"] = []object{{}}
	secure["routes"] = []object{{"handle": []object{
		{
			"handler":        "encode",
			"encodings":      object{"zstd": object{}, "gzip": object{}},
			"prefer":         []string{"zstd", "gzip"},
			"minimum_length": 1024,
		},
		{"handler": "local_edge"},
		proxy(),
	}}}
	secure["errors"] = object{"routes": []object{{"handle": []object{{"handler": "local_edge_failure"}}}}}
	all := object{"https": secure}
	if len(c.HTTP) > 0 {
		suffix := ""
		if httpsPort != "443" {
			suffix = ":" + httpsPort
		}
		plain := common(c.HTTP, "h1")
		plain["routes"] = []object{{"handle": []object{{
			"handler":     "static_response",
			"status_code": "308",
			"headers":     object{"Location": []string{"https://{http.request.host}" + suffix + "{http.request.uri}"}},
		}}}}
		all["http"] = plain
	}
	return all
}

// proxy streams both ways, without limits of time or size. A pod that is just gone is passed over: a request that
// could not be sent, or a GET that was not answered, is tried on another one for a few seconds.
func proxy() object {
	return object{
		"handler":           "reverse_proxy",
		"dynamic_upstreams": object{"source": "local_edge"},
		"load_balancing": object{
			"selection_policy": object{"policy": "random"},
			"try_duration":     "3s",
			"try_interval":     "100ms",
		},
		"health_checks": object{"passive": object{"fail_duration": "2s", "max_fails": 1}},
		"headers":       object{"request": object{"set": object{"X-Real-Ip": []string{"{http.request.remote.host}"}}}},
		"transport": object{
			"protocol":     "http",
			"dial_timeout": "2s",
			"compression":  false,
			"keep_alive":   object{"idle_timeout": "60s", "max_idle_conns_per_host": 64},
		},
	}
}
