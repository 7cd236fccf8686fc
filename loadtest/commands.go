package loadtest

import (
	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// commands are those that players send often, made once: a command that is being sent is never changed, so all may share it.
type commands struct {
	earn, spend [amountsOfCoins]*skerryv1.PlayerCommand
	give, take  [gameItems][itemsAtOnce]*skerryv1.PlayerCommand
	move        [hotbarSlots]*skerryv1.PlayerCommand
	walk        [walkSeconds]*skerryv1.PlayerCommand
	fight       [fights]*skerryv1.PlayerCommand
	enemy       *skerryv1.PlayerCommand
	daily       *skerryv1.PlayerCommand
	price       *skerryv1.PlayerCommand
}

// How varied the commands are.
const (
	amountsOfCoins = 50
	itemsAtOnce    = 4
	hotbarSlots    = 9
	walkSeconds    = 60
	fights         = 30
	itemPrice      = 15
	// greatestReward of a day is more than the rules give.
	greatestReward = 10_000
)

func newCommands() *commands {
	c := &commands{
		enemy: statistics(&skerryv1.Statistics{EnemiesDefeated: 1}),
		daily: &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_ClaimDailyReward{ClaimDailyReward: &skerryv1.ClaimDailyReward{}}},
		price: spend(itemPrice),
	}
	for i := range c.earn {
		amount := int64(i + 1)
		c.earn[i] = &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: amount}}}
		c.spend[i] = spend(amount)
	}
	for item := range c.give {
		for n := range c.give[item] {
			id, count := int32(item+1), int32(n+1) //nolint:gosec // a few
			c.give[item][n] = &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: id, Count: count}}}
			c.take[item][n] = &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Take{Take: &skerryv1.Take{ItemId: id, Count: count}}}
		}
	}
	for i := range c.move {
		c.move[i] = &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Swap{
			Swap: &skerryv1.Swap{A: client.Hotbar(i), B: client.Hotbar((i + 1) % hotbarSlots)},
		}}
	}
	for i := range c.walk {
		c.walk[i] = statistics(&skerryv1.Statistics{TotalPlayTime: int64(i + 1)})
	}
	for i := range c.fight {
		c.fight[i] = &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_AddExperience{AddExperience: &skerryv1.AddExperience{Amount: int64(i + 1)}}}
	}
	return c
}

func spend(amount int64) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Spend{Spend: &skerryv1.Spend{Currency: client.Coins, Amount: amount}}}
}

func statistics(delta *skerryv1.Statistics) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_AddStatistics{AddStatistics: &skerryv1.AddStatistics{Delta: delta}}}
}

// The part of a world in which players build: so many chunks each way, and so many blocks up.
const (
	builtChunks = 4
	builtHeight = 48
	blockIDs    = 200 // without air, which is 0
)

// blocksOf draws the blocks of one edit, flat: within one chunk, near to each other as builders' are.
func blocksOf(draw uint64, count int) []int32 {
	flat := make([]int32, 0, 4*count)
	chunk := int32(draw % (builtChunks * builtChunks)) //nolint:gosec // small
	x0, z0 := chunk%builtChunks*16, chunk/builtChunks*16
	at := draw >> 8
	for range count {
		at = at*6364136223846793005 + 1442695040888963407 // the generator of Knuth's MMIX
		bits := at >> 20
		flat = append(flat,
			x0+int32(bits&15), int32(bits>>4%builtHeight), z0+int32(bits>>12&15), 1+int32(bits>>16%blockIDs)) //nolint:gosec // small
	}
	return flat
}

// chestAt is where a world's chests are.
func chestAt(i int) client.Place { return client.Place{X: int32(2 * i), Y: builtHeight + 2, Z: 0} } //nolint:gosec // a few

// countsOf are the quantities of a player's document.
func countsOf(p *skerryv1.Player) amounts {
	var has amounts
	has[qCoins] = p.GetProfile().GetCoins()
	has[qPlayTime] = p.GetStatistics().GetTotalPlayTime()
	has[qEnemies] = p.GetStatistics().GetEnemiesDefeated()
	for _, slots := range [][]*skerryv1.ItemStack{p.GetInventory().GetHotbar(), p.GetInventory().GetInventory()} {
		addItems(&has, slots)
	}
	return has
}

func addItems(has *amounts, slots []*skerryv1.ItemStack) {
	for _, s := range slots {
		if id := s.GetItemId(); id >= 1 && id <= gameItems {
			has[itemQuantity(id)] += int64(s.GetCount())
		}
	}
}
