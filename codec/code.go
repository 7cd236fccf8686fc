package codec

// Code is a word of the wire that says why a request was refused or failed. Only the front door turns errors into codes;
// the client turns codes into errors. A code is never renamed and never used for something else.
type Code string

// The codes. [Codes] lists them with what they mean.
const (
	CodeInsufficientFunds Code = "INSUFFICIENT_FUNDS"
	CodeInventoryFull     Code = "INVENTORY_FULL"
	CodeNoSuchItem        Code = "NO_SUCH_ITEM"
	CodeAlreadyClaimed    Code = "ALREADY_CLAIMED"
	CodeBadSlot           Code = "BAD_SLOT"
	CodeBadAmount         Code = "BAD_AMOUNT"
	CodeLimitExceeded     Code = "LIMIT_EXCEEDED"
	CodeExpectationFailed Code = "EXPECTATION_FAILED"
	CodeForbiddenRole     Code = "FORBIDDEN_ROLE"
	CodeAlreadyOwned      Code = "ALREADY_OWNED"
	CodeNoSuchChest       Code = "NO_SUCH_CHEST"
	CodeChestExists       Code = "CHEST_EXISTS"
	CodeChestNotEmpty     Code = "CHEST_NOT_EMPTY"
	CodeBadBlock          Code = "BAD_BLOCK"
	CodeOutOfRange        Code = "OUT_OF_RANGE"
	CodeChunkHeld         Code = "CHUNK_HELD"
	CodeBadRequest        Code = "BAD_REQUEST"
	CodeTooLarge          Code = "TOO_LARGE"
	CodeUnauthenticated   Code = "UNAUTHENTICATED"
	CodePermissionDenied  Code = "PERMISSION_DENIED"
	CodeNotFound          Code = "NOT_FOUND"
	CodeAlreadyExists     Code = "ALREADY_EXISTS"
	CodeNotPossible       Code = "NOT_POSSIBLE"
	CodeNoSession         Code = "NO_SESSION"
	CodeSessionTaken      Code = "SESSION_TAKEN"
	CodeSessionEnded      Code = "SESSION_ENDED"
	CodeSessionHeld       Code = "SESSION_HELD"
	CodeUnknownServer     Code = "UNKNOWN_SERVER"
	CodeStaleIncarnation  Code = "STALE_INCARNATION"
	CodeIDReused          Code = "ID_REUSED"
	CodeCommandTooOld     Code = "COMMAND_TOO_OLD"
	CodeBudgetExhausted   Code = "BUDGET_EXHAUSTED"
	CodeOverloaded        Code = "OVERLOADED"
	CodeNotOwner          Code = "NOT_OWNER"
	CodeUnavailable       Code = "UNAVAILABLE"
	CodeOutcomeUnknown    Code = "OUTCOME_UNKNOWN"
	CodeCorrupt           Code = "CORRUPT"
	CodeNewerVersion      Code = "NEWER_VERSION"
	CodeUnimplemented     Code = "UNIMPLEMENTED"
	CodeInternal          Code = "INTERNAL"
)

// CodeDoc is a code and what it tells the caller, one line.
type CodeDoc struct {
	Code    Code
	Meaning string
}

// Codes returns every code with its meaning, in the order in which the documentation lists them. The caller owns the result.
func Codes() []CodeDoc {
	return []CodeDoc{
		// The rules say no.
		{CodeInsufficientFunds, "the balance is smaller than what was to be spent"},
		{CodeInventoryFull, "no slot has room for the items"},
		{CodeNoSuchItem, "the player, or the chest, does not have these items, or not so many"},
		{CodeAlreadyClaimed, "today's reward was claimed already"},
		{CodeBadSlot, "the slot does not exist, or does not hold what the command needs"},
		{CodeBadAmount, "the amount is not positive, or not a number, or out of range"},
		{CodeLimitExceeded, "the result would pass a limit of the rules, such as the greatest balance, or the most chests of a chunk"},
		{CodeExpectationFailed, "a value was not what the command's expect said"},
		{CodeForbiddenRole, "the player as whom the command is asked does not have the role for it"},
		{CodeAlreadyOwned, "the world has an owner"},
		{CodeNoSuchChest, "there is no chest at this place"},
		{CodeChestExists, "there is a chest at this place already"},
		{CodeChestNotEmpty, "the chest, or one in the chunk, holds items"},
		{CodeBadBlock, "the block id or name is none of the world's"},
		{CodeOutOfRange, "the place is outside the world, or outside the chunk"},
		{CodeChunkHeld, "an open transfer holds items of the chunk, or of the chest"},
		// The request is wrong.
		{CodeBadRequest, "a field of the request is missing, malformed or out of range; field names it"},
		{CodeTooLarge, "the request, or a value in it, is larger than allowed"},
		{CodeUnauthenticated, "the API key is missing or unknown"},
		{CodePermissionDenied, "the API key does not have the scope or the space that the call needs"},
		{CodeNotFound, "it is proven not to exist"},
		{CodeAlreadyExists, "it exists already, and the call did not ask to replace it"},
		{CodeNotPossible, "the cluster as it is cannot do it; the message says why"},
		// Sessions and command ids.
		{CodeNoSession, "the player or world has no session, or the request names none: send the header Skerry-Session (field session)"},
		{CodeSessionTaken, "this token does not hold the session: another game server took it over, or the token is wrong; stop using it"},
		{CodeSessionEnded, "the session was ended; open a new one"},
		{CodeSessionHeld, "another game server holds the session, and the call asked not to take it"},
		{CodeUnknownServer, "the game server is not registered, or was closed"},
		{CodeStaleIncarnation, "a newer incarnation of the game server registered"},
		{CodeIDReused, "the command id, or the receipt, was used for other commands; a changed or corrected request needs a new one, also after a refusal"},
		{CodeCommandTooOld, "the command id is below the remembered ones; it was not applied by this call"},
		// Try again.
		{CodeBudgetExhausted, "the game server's requests per minute are used up; retry after the time given"},
		{CodeOverloaded, "a queue or a limit of the node is full; nothing was applied, retry with the same command id"},
		{CodeNotOwner, "another node owns the entity; owner names it"},
		{CodeUnavailable, "the entity cannot be served right now; nothing was applied, retry with the same command id"},
		{CodeOutcomeUnknown, "the command may or may not be applied; retry with the same command id, it applies once"},
		// Somebody has to look.
		{CodeCorrupt, "stored bytes are damaged; they are in quarantine and nothing was overwritten"},
		{CodeNewerVersion, "the stored document was written by a newer version; nothing was changed"},
		{CodeUnimplemented, "the node does not know this call or command"},
		{CodeInternal, "an error that has no better word; the node's log has it"},
	}
}
