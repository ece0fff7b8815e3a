package witness

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/underseal/underseal/internal/fault"
)

// maxBody bounds a request: a whole proof and the largest note.
const maxBody = 64*(maxProof+1) + maxNote

// statuses is how the specification answers each kind of error.
var statuses = map[fault.Kind]int{
	fault.Invalid:     http.StatusBadRequest,
	fault.Denied:      http.StatusForbidden,
	fault.NotFound:    http.StatusNotFound,
	fault.Conflict:    http.StatusConflict,
	fault.Integrity:   http.StatusUnprocessableEntity,
	fault.Unavailable: http.StatusServiceUnavailable,
	fault.Internal:    http.StatusInternalServerError,
}

// Handler serves add-checkpoint and, for monitors, the newest checkpoint of each
// log, below the root of its address. What was signed or refused goes to the log.
func (w *Witness) Handler(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", func(out http.ResponseWriter, in *http.Request) { w.serveAdd(out, in, log) })
	mux.HandleFunc("GET /{origin}/checkpoint", w.serveNewest)
	return mux
}

func (w *Witness) serveAdd(out http.ResponseWriter, in *http.Request, log *slog.Logger) {
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, maxBody))
	if err != nil {
		refuse(out, malformed("its body cannot be read, or has more than %d bytes", maxBody))
		return
	}
	line, newest, err := w.AddCheckpoint(in.Context(), body)
	switch {
	case fault.Is(err, fault.Conflict):
		out.Header().Set("Content-Type", "text/x.tlog.size")
		out.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(out, strconv.FormatUint(newest, 10)+"\n") // the client sees a short answer
	case err != nil:
		refuse(out, err)
	default:
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = out.Write(line) // as above
	}
	switch {
	case err == nil:
		log.Info("cosigned", "size", newest)
	case fault.Is(err, fault.Conflict): // as logs begin that do not know what is signed here
		log.Info("told a log the size that is signed here", "size", newest)
	default:
		log.Warn("refused a checkpoint", "error", err)
	}
}

func (w *Witness) serveNewest(out http.ResponseWriter, in *http.Request) {
	signed, err := w.Newest(in.PathValue("origin"))
	if err != nil {
		refuse(out, err)
		return
	}
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = out.Write(signed) // the client sees a short answer
}

// refuse answers with the error's status. Internal ones are not for strangers.
func refuse(out http.ResponseWriter, err error) {
	kind, text := fault.KindOf(err), err.Error()
	if kind == fault.Internal || kind == fault.Unavailable {
		text = kind.String()
	}
	http.Error(out, text, statuses[kind])
}
