package turn

import (
	"time"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

func (a *asked) serverTurn() server.Turn {
	return server.Turn{Now: time.UnixMilli(a.ms).UTC(), Seed: a.env.Seed}
}

// registerServer makes a new incarnation; the shell ends the sessions of the ones before.
func (a *asked) registerServer(req *skerryv1.RegisterServerRequest) Result {
	changes, err := server.DecideRegister(a.state.GetServer(), req, a.serverTurn())
	if err != nil {
		return refuse(err)
	}
	registered := changes[0].GetRegistered()
	return Result{
		Entry: &storev1.Entry{TimeMs: a.ms, ServerChanges: changes}, Durable: true,
		Marks: []persistence.Mark{{Name: AliveMark, Value: []byte(registered.GetIncarnation())}},
		Effects: []Effect{{
			Server: a.key.ID, Key: a.key, Registered: true, Incarnation: registered.GetIncarnation(),
			Claims: registered.GetClaimWorld() == skerryv1.ClaimWorld_FIRST_PLAYER,
			Budget: registered.GetBudget(), Players: int(registered.GetPlayers()), First: a.state.GetServer() == nil,
		}},
		Response: &skerryv1.Response{Response: &skerryv1.Response_RegisterServer{RegisterServer: &skerryv1.RegisterServerResponse{
			Incarnation: registered.GetIncarnation(), Budgets: budgets(registered),
		}}},
	}
}

// heartbeatServer reports the players. A lost report does no harm, so nobody waits for the disk.
func (a *asked) heartbeatServer(req *skerryv1.HeartbeatServerRequest) Result {
	changes, err := server.DecideReport(a.state.GetServer(), req)
	if err != nil {
		return refuse(err)
	}
	present := &storev1.Server{Budget: a.state.GetServer().GetBudget(), Players: req.GetPlayers()}
	result := Result{Response: &skerryv1.Response{Response: &skerryv1.Response_HeartbeatServer{
		HeartbeatServer: &skerryv1.HeartbeatServerResponse{Budgets: budgets(present)},
	}}}
	if len(changes) > 0 {
		result.Entry = &storev1.Entry{TimeMs: a.ms, ServerChanges: changes}
	}
	return result
}

// getServer shows what the entity knows; the shell adds the sessions and when it was last heard of.
func (a *asked) getServer() Result {
	s := a.state.GetServer()
	if s == nil {
		return refuse(ErrNotFound)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetServer{GetServer: &skerryv1.GetServerResponse{
		Server: a.key.ID, Incarnation: s.GetIncarnation(), Players: s.GetPlayers(), Budget: s.GetBudget(), Budgets: budgets(s),
		RegisteredAt: timestamp(s.GetRegisteredMs()), Alive: !s.GetClosed(), World: s.GetWorld().CloneVT(),
	}}}}
}

// claimWorld does a step of claiming a world, and answers with the server after it: its world is the claimed one, and none
// when it claims none. The game server hears of the last step.
func (a *asked) claimWorld(claim *server.Claim) Result {
	changes, err := server.DecideClaim(a.state.GetServer(), *claim)
	if err != nil {
		return refuse(err)
	}
	result := a.getServer()
	result.After = a.env.Seq // the claim that stands may be on its way
	if len(changes) == 0 {
		return result
	}
	world := changes[0].GetWorldChanged()
	result.Entry, result.Durable = &storev1.Entry{TimeMs: a.ms, ServerChanges: changes}, true
	result.Response.GetGetServer().World = world.CloneVT()
	event := &skerryv1.ServerEvent{
		Kind: persistence.KindWorld.String(), Entity: world.GetId(), At: timestamp(a.ms), Detail: world.GetRefused(),
	}
	switch world.GetState() {
	case skerryv1.ClaimState_CLAIMED:
		event.Type, event.Session = EventWorldClaimed, claim.Token
	case skerryv1.ClaimState_CLAIM_REFUSED:
		event.Type = EventWorldRefused
	default:
		return result
	}
	result.Effects = []Effect{{Server: a.key.ID, Key: a.key, Incarnation: claim.Incarnation, Event: event}}
	return result
}

// closeServer closes the incarnation; the shell ends its sessions and says how many they were.
func (a *asked) closeServer(req *skerryv1.CloseServerRequest) Result {
	why := server.Asked
	if a.env.Silent {
		why = server.Silent
	}
	changes, err := server.DecideClose(a.state.GetServer(), req.GetIncarnation(), why)
	if err != nil {
		return refuse(err)
	}
	return Result{
		Entry: &storev1.Entry{TimeMs: a.ms, ServerChanges: changes}, Durable: true,
		Marks:    []persistence.Mark{{Name: AliveMark}},
		Effects:  []Effect{{Server: a.key.ID, Key: a.key, Closed: true, Incarnation: a.state.GetServer().GetIncarnation()}},
		Response: &skerryv1.Response{Response: &skerryv1.Response_CloseServer{CloseServer: &skerryv1.CloseServerResponse{}}},
	}
}

// budgets are what a server's profile grants a minute, with the players that it reported; 0 is unlimited. What is used of them is
// the account's.
func budgets(s *storev1.Server) map[string]*skerryv1.Budget {
	profile, err := budget.Parse(s.GetBudget())
	if err != nil { // kept by a newer version: the account knows no better
		profile = budget.Profile{}
	}
	all := make(map[string]*skerryv1.Budget, budget.Classes)
	for class := range budget.Classes {
		perMinute := profile.Rates[class].PerMinute(int(s.GetPlayers()))
		all[class.String()] = &skerryv1.Budget{PerMinute: perMinute, Available: perMinute}
	}
	return all
}
