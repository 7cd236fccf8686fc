package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// What Read refuses.
var (
	// ErrNotReport: the bytes are no report of a load test.
	ErrNotReport = errors.New("not a report of skerry-load")
	// ErrNewer: a newer skerry-load wrote it.
	ErrNewer = errors.New("a newer skerry-load wrote this report")
)

// maxBytes bounds what Read takes: a day of samples of 200 servers is a tenth of it.
const maxBytes = 1 << 30

// Write writes the report as report.json. A number that is not finite is written as 0; r stays as it is.
func Write(w io.Writer, r *Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(finite(r)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Read reads a report.json. It returns ErrNotReport or ErrNewer, with what is wrong and where, for what it cannot read. Fields that
// it does not know are left out.
func Read(in io.Reader) (*Report, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrNotReport, maxBytes)
	}
	var form struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &form); err != nil { // before all else: the rest of a newer one may not fit
		return nil, explain(data, err)
	}
	switch {
	case form.Version == nil || *form.Version < 1:
		return nil, fmt.Errorf("%w: it has no version", ErrNotReport)
	case *form.Version > Version:
		return nil, fmt.Errorf("%w: its form is %d, this one reads up to %d", ErrNewer, *form.Version, Version)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, explain(data, err)
	}
	return &r, nil
}

// explain says in which line the JSON is wrong.
func explain(data []byte, err error) error {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	var offset int64
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrongType):
		offset = wrongType.Offset
		err = fmt.Errorf("%q is a %s there", wrongType.Field, wrongType.Value)
	}
	line := 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
	return fmt.Errorf("%w: line %d: %w", ErrNotReport, line, err)
}

// finite returns the report with 0 for what JSON cannot say. What of r has no such numbers is shared, not copied.
func finite(r *Report) *Report {
	out := *r
	zero(&out.Seconds, &out.Minute, &out.DirtyAgeBound, &out.Machine.Tool, &out.Machine.Nodes, &out.Machine.Fdatasync)
	out.Samples = slices.Clone(r.Samples)
	for i := range out.Samples {
		s := &out.Samples[i]
		zero(&s.At, &s.Commands, &s.Failed, &s.Loads, &s.Saves, &s.DirtyAge, &s.P50, &s.P90, &s.P99, &s.P999, &s.Max)
	}
	out.Operations = slices.Clone(r.Operations)
	for i := range out.Operations {
		o := &out.Operations[i]
		zero(&o.P50, &o.P90, &o.P99, &o.P999, &o.Max)
	}
	out.Marks = slices.Clone(r.Marks)
	for i := range out.Marks {
		zero(&out.Marks[i].At)
	}
	out.Totals = slices.Clone(r.Totals)
	for i := range out.Totals {
		zero(&out.Totals[i].Value)
	}
	return &out
}

func zero(numbers ...*float64) {
	for _, n := range numbers {
		if math.IsNaN(*n) || math.IsInf(*n, 0) {
			*n = 0
		}
	}
}
