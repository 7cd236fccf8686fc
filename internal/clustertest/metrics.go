package clustertest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Metrics returns metrics of the node by name, all of one moment, each with its series of different labels added up. A
// metric that is not there is an error.
func (p *Process) Metrics(ctx context.Context, names ...string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Ready.Admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	all := map[string]float64{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		series, text, ok := strings.Cut(scanner.Text(), " ")
		if !ok || series == "#" {
			continue
		}
		name, _, _ := strings.Cut(series, "{")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		all[name] += value
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	for _, name := range names {
		if _, found := all[name]; !found {
			return nil, fmt.Errorf("the node has no metric %s", name)
		}
	}
	return all, nil
}
