package gateway

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// maxReceiptBytes and maxCommands bound a turn, as the rules do; the door says so before an entity has the work.
const (
	maxReceiptBytes = 64
	maxCommands     = 100
)

// target is what a request addresses.
type target struct {
	call call
	key  persistence.Key
	wait time.Duration // of a long poll
}

// route checks a request of c and says what it addresses. It fills in the session that came with the call where the request
// has none. Its errors are refusals. This is the hot path: what most requests are costs no reflection.
func (c *caller) route(r *skerryv1.Request) (target, error) {
	t := target{call: callNone, key: persistence.Key{Space: c.space, Kind: persistence.KindPlayer}}
	var err error
	switch m := r.GetRequest().(type) {
	case *skerryv1.Request_ExecutePlayer:
		t.call, t.key.ID = callExecutePlayer, m.ExecutePlayer.GetPlayer()
		err = c.checkExecute(m.ExecutePlayer)
	case *skerryv1.Request_OpenPlayerSession:
		t.call, t.key.ID = callOpenPlayerSession, m.OpenPlayerSession.GetPlayer()
		err = c.checkOpen(m.OpenPlayerSession)
	case *skerryv1.Request_GetPlayerSession:
		t.call, t.key.ID = callGetPlayerSession, m.GetPlayerSession.GetPlayer()
	case *skerryv1.Request_EndPlayerSession:
		t.call, t.key.ID = callEndPlayerSession, m.EndPlayerSession.GetPlayer()
		err = c.checkSession(&m.EndPlayerSession.Session)
	case *skerryv1.Request_GetPlayer:
		t.call, t.key.ID = callGetPlayer, m.GetPlayer.GetPlayer()
	case *skerryv1.Request_GetPlayerCommand:
		t.call, t.key.ID = callGetPlayerCommand, m.GetPlayerCommand.GetPlayer()
		err = c.checkSession(&m.GetPlayerCommand.Session)
	case *skerryv1.Request_SavePlayer:
		t.call, t.key.ID = callSavePlayer, m.SavePlayer.GetPlayer()
		err = c.checkSession(&m.SavePlayer.Session)
	case *skerryv1.Request_ImportPlayer:
		t.call, t.key.ID = callImportPlayer, m.ImportPlayer.GetPlayer()
		err = checkForm(m.ImportPlayer, MaxImportBytes)
	default:
		if t, err = c.routeWorld(r); t.call == callNone {
			t, err = c.routeServer(r)
		}
	}
	if t.call == callNone {
		return t, refuse(errBadRequest, "request", "no request is set, or one that this version does not know")
	}
	if forbidden := c.may(t.call); forbidden != nil {
		return t, forbidden
	}
	if err != nil {
		return t, err
	}
	return t, checkKey(t.key, t.key.Kind.String())
}

// checkKey refuses an id that is none; field is where it stands in the request.
func checkKey(key persistence.Key, field string) error {
	if key.ID == "" {
		return refuse(errBadRequest, field, field+" is missing")
	}
	if err := key.Validate(); err != nil {
		return refuse(errBadRequest, field, err.Error())
	}
	return nil
}

// routeServer is route for the requests to a game server's entity.
func (c *caller) routeServer(r *skerryv1.Request) (target, error) {
	t := target{call: callNone, key: persistence.Key{Space: c.space, Kind: persistence.KindServer}}
	switch m := r.GetRequest().(type) {
	case *skerryv1.Request_RegisterServer:
		t.call, t.key.ID = callRegisterServer, m.RegisterServer.GetServer()
		return t, checkForm(m.RegisterServer, MaxBodyBytes)
	case *skerryv1.Request_HeartbeatServer:
		t.call, t.key.ID = callHeartbeatServer, m.HeartbeatServer.GetServer()
		return t, checkToken("incarnation", m.HeartbeatServer.GetIncarnation())
	case *skerryv1.Request_GetServer:
		t.call, t.key.ID = callGetServer, m.GetServer.GetServer()
	case *skerryv1.Request_CloseServer:
		t.call, t.key.ID = callCloseServer, m.CloseServer.GetServer()
		return t, checkToken("incarnation", m.CloseServer.GetIncarnation())
	case *skerryv1.Request_GetServerEvents:
		t.call, t.key.ID = callGetServerEvents, m.GetServerEvents.GetServer()
		var err error
		t.wait, err = parseWait(m.GetServerEvents.GetWait())
		return t, err
	}
	return t, nil
}

// parseWait reads how long a long poll may take.
func parseWait(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > MaxWait {
		return 0, refuse(errBadRequest, "wait", fmt.Sprintf("%.40q is no duration of 0s to %s", text, MaxWait))
	}
	return wait, nil
}

// checkSession fills in the caller's session where a request has none, and checks the form of it.
func (c *caller) checkSession(session *string) error {
	if *session == "" {
		*session = c.session // checked when it came
		return nil
	}
	return checkToken("session", *session)
}

func checkToken(field, token string) error {
	if !isToken(token) {
		return refuse(errBadRequest, field, fmt.Sprintf("is no token: at most %d printable ASCII characters", maxTokenBytes))
	}
	return nil
}

// checkExecute checks what the rules do not: bounds of the whole, and text.
func (c *caller) checkExecute(m *skerryv1.ExecutePlayerRequest) error {
	if err := c.checkTurn(&m.Session, m.GetReceipt(), len(m.GetCommands())); err != nil {
		return err
	}
	for _, cmd := range m.GetCommands() {
		if !isPlain(cmd) {
			return checkForm(m, MaxBodyBytes)
		}
	}
	return nil
}

// checkTurn checks what the commands of every kind of entity come with.
func (c *caller) checkTurn(session *string, receipt string, commands int) error {
	if err := c.checkSession(session); err != nil {
		return err
	}
	switch {
	case len(receipt) > maxReceiptBytes:
		return refuse(errTooLarge, "receipt", fmt.Sprintf("has %d bytes, at most %d are allowed", len(receipt), maxReceiptBytes))
	case !isToken(receipt):
		return refuse(errBadRequest, "receipt", "is not printable ASCII")
	case commands > maxCommands:
		return refuse(errTooLarge, "commands", fmt.Sprintf("are %d, at most %d are allowed", commands, maxCommands))
	}
	return nil
}

// isPlain reports whether a command has nothing but numbers in it, so that its text and size need no check.
func isPlain(cmd *skerryv1.PlayerCommand) bool {
	if cmd.GetExpect() != nil {
		return false
	}
	switch m := cmd.GetCommand().(type) {
	case *skerryv1.PlayerCommand_Earn, *skerryv1.PlayerCommand_Spend, *skerryv1.PlayerCommand_AddExperience,
		*skerryv1.PlayerCommand_AddStatistics, *skerryv1.PlayerCommand_Take, *skerryv1.PlayerCommand_Move,
		*skerryv1.PlayerCommand_Swap, *skerryv1.PlayerCommand_Split, *skerryv1.PlayerCommand_ClaimDailyReward,
		*skerryv1.PlayerCommand_SetSettings, *skerryv1.PlayerCommand_ClearSpawnerSlot:
		return true
	case *skerryv1.PlayerCommand_Give:
		return m.Give.GetMetadata() == nil
	default:
		return false
	}
}

func (c *caller) checkOpen(m *skerryv1.OpenPlayerSessionRequest) error {
	if err := c.checkOpener(m.GetServer(), m.GetOpenId()); err != nil {
		return err
	}
	return checkForm(m, MaxBodyBytes)
}

// checkOpener checks who opens a session, of whatever kind of entity.
func (c *caller) checkOpener(server, openID string) error {
	if err := checkKey(persistence.Key{Space: c.space, Kind: persistence.KindServer, ID: server}, "server"); err != nil {
		return err
	}
	return checkToken("openId", openID)
}

// checkForm checks the size of a whole message and all the text in it, which the generated decoders do not.
func checkForm(m proto.Message, limitBytes int) error {
	if size := proto.Size(m); size > limitBytes {
		return tooLarge(size, limitBytes)
	}
	return codec.CheckText(m)
}

func tooLarge(size, limitBytes int) error {
	return refuse(errTooLarge, "", fmt.Sprintf("the request has %d bytes, at most %d are allowed", size, limitBytes))
}
