package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// maxKillBytes is more than the name of any actor takes.
const maxKillBytes = 4 << 10

// chaos ends actors of the broker for whoever shows the token.
type chaos struct {
	token string
	kill  func(actor, how string) error
}

// killRequest is the body of a POST to /chaos/kill.
type killRequest struct {
	Actor string `json:"actor"` // controller, replica/<topic>/<partition>, or group/<group id>
	How   string `json:"how"`   // panic or stop
}

// serveKill answers 200 once the actor was sent its end, 401 without the token, 400 when the request says
// nothing sensible, and 409 when there is no such actor here at the moment.
func (c *chaos) serveKill(w http.ResponseWriter, r *http.Request) {
	if !c.admits(r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="chaos"`)
		writeText(w, http.StatusUnauthorized, "the token is missing, or it is not that of this broker")
		return
	}
	var request killRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxKillBytes))
	body.DisallowUnknownFields()
	err := body.Decode(&request)
	if err == nil && body.Decode(&struct{}{}) != io.EOF {
		err = errors.New("more than one value")
	}
	if err != nil {
		writeText(w, http.StatusBadRequest, `want {"actor": "controller", "replica/<topic>/<partition>" or "group/<group id>", "how": "panic" or "stop"}: `+err.Error())
		return
	}
	switch err := c.kill(request.Actor, request.How); {
	case err == nil:
		writeText(w, http.StatusOK, "killed")
	case errors.Is(err, wire.InvalidRequest):
		writeText(w, http.StatusBadRequest, err.Error())
	default:
		writeText(w, http.StatusConflict, err.Error())
	}
}

// admits compares in a time that tells nothing about the token, not even its length.
func (c *chaos) admits(authorization string) bool {
	shown, bearer := strings.CutPrefix(authorization, "Bearer ")
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(c.token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && bearer
}
