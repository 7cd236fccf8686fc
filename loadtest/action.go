package loadtest

// action is a kind of thing that is done: what a [Mix] weighs, and what happens around it.
type action uint8

// The actions; the first are those of [Mix], in its order.
const (
	actEarn action = iota
	actSpend
	actBuy
	actGive
	actTake
	actMove
	actFight
	actWalk
	actDaily
	actTrade
	actChest
	actBuild
	actSave
	actOpen
	actLeave
	actWorld
	actClose
	actions
)

const mixed = int(actOpen) // how many actions a Mix has

// actionNames are the names of actions, in their order: those of a Mix's settings, and of the report.
func actionNames() [actions]string {
	return [actions]string{
		"earn", "spend", "buy", "give", "take", "move", "fight", "walk", "daily", "trade", "chest", "build", "save",
		"open", "leave", "open world", "close server",
	}
}

func (m *Mix) weights() [mixed]int {
	return [mixed]int{
		m.Earn, m.Spend, m.Buy, m.Give, m.Take, m.Move, m.Fight, m.Walk, m.Daily, m.Trade, m.Chest, m.Build, m.Save,
	}
}
