package privacy

// Fate is what becomes of a column when somebody is erased.
type Fate string

// The fates that there are.
const (
	// Impersonal says nothing of buyers: it is of the catalogue, of rules, of
	// staff, or of how the store runs.
	Impersonal Fate = "impersonal"
	// Removed goes with its row.
	Removed Fate = "removed"
	// Redacted is emptied, or is left without what people wrote in it.
	Redacted Fate = "redacted"
	// Books stays for the books, and names nobody.
	Books Fate = "books"
	// Lapses is a hash from which nobody is told, and is forgotten within a day.
	Lapses Fate = "lapses"
)

// Places are the columns of all tables that hold text, JSON or bytes, by table
// and fate. Who adds one says here what becomes of it. Erase does what is said,
// which a test proves that has a marker in all that is personal.
var Places = map[string]map[Fate][]string{
	// People.
	"customers":       {Removed: {"email", "name", "password_hash", "role"}},
	"addresses":       {Removed: {"address"}},
	"sessions":        {Removed: {"refresh_hash"}},
	"one_time_tokens": {Removed: {"hash", "purpose"}},
	"socket_tickets":  {Removed: {"hash", "first_key"}},
	"attempts":        {Lapses: {"key"}},
	"erasures":        {Impersonal: {"actor"}},

	// What they want and buy.
	"carts":            {Removed: {"content", "currency"}},
	"orders":           {Redacted: {"email", "details"}, Books: {"state", "held_from", "currency"}},
	"order_lines":      {Books: {"sku", "title", "options", "rates", "stock"}},
	"fulfillments":     {Redacted: {"tracking"}, Books: {"state", "stock"}},
	"returns":          {Redacted: {"note", "answer"}, Books: {"state"}},
	"return_lines":     {Books: {"reason"}},
	"refunds":          {Redacted: {"reason", "actor"}, Books: {"state"}},
	"promotion_uses":   {Redacted: {"customer_key"}},
	"payments":         {Redacted: {"next_action"}, Books: {"provider", "state", "currency", "reference"}},
	"payment_attempts": {Impersonal: {"provider", "currency"}},
	"payment_events":   {Books: {"raw", "event", "type", "provider", "reference", "state"}},
	"payment_operations": {
		Redacted: {"actor", "reason"}, Books: {"kind", "state", "reference", "failure"},
	},
	"payment_discrepancies": {Books: {"kind", "provider", "reference", "detail"}},

	// What it comes to, for whom under a name that means nothing.
	"statistics_orders":   {Books: {"currency", "labels", "label_amounts", "line_sums", "product_ids", "variant_ids"}},
	"statistics_sales":    {Books: {"currency"}},
	"statistics_products": {Books: {"currency"}},
	"statistics_labels":   {Books: {"currency", "kind", "name", "detail"}},
	"statistics_buyers":   {Books: {"currency"}},

	// What is told, and kept of what was asked.
	"events":             {Redacted: {"actor", "data"}, Impersonal: {"topic", "type"}},
	"webhook_deliveries": {Redacted: {"body"}, Impersonal: {"state", "type"}},
	"webhook_attempts":   {Redacted: {"answer"}, Impersonal: {"error", "remote_address", "request_headers", "url"}},
	"webhook_endpoints":  {Impersonal: {"description", "disabled_reason", "events", "url"}},
	"webhook_secrets":    {Impersonal: {"secret"}},
	"idempotency_keys":   {Removed: {"scope", "key", "request_hash", "body"}},
	"audit": {
		Redacted: {"before", "after", "words"}, Impersonal: {"action", "actor", "address", "change", "object", "object_id", "request_id", "user_agent"},
	},
	"import_refusals": {Redacted: {"detail", "errors"}, Impersonal: {"code"}},
	"imports":         {Impersonal: {"actor", "format", "header", "kind"}},

	// Jobs. Those with an address in what they are to do are mails.
	"river_job": {
		Removed: {"args", "errors"}, Impersonal: {"attempted_by", "kind", "metadata", "queue", "state", "tags", "unique_key"},
	},
	"river_leader":       {Impersonal: {"leader_id", "name"}},
	"river_migration":    {Impersonal: {"line"}},
	"river_notification": {Impersonal: {"payload", "topic"}},
	"river_queue":        {Impersonal: {"metadata", "name"}},
	"job_workers":        {Impersonal: {"id"}},
	"event_readers":      {Impersonal: {"name"}},

	// The store.
	"api_keys":    {Impersonal: {"hash", "hint", "name", "scopes"}},
	"products":    {Impersonal: {"document", "labels", "marks", "search", "slug", "status", "tax_category", "title", "title_key", "type"}},
	"variants":    {Impersonal: {"options", "sku", "stock_policy"}},
	"prices":      {Impersonal: {"currency"}},
	"categories":  {Impersonal: {"description", "name", "path", "seo", "slug"}},
	"collections": {Impersonal: {"description", "name", "seo", "slug"}},
	"promotions":  {Impersonal: {"code", "collection_ids", "currency", "kind", "product_ids", "title"}},
	"zones":       {Impersonal: {"areas", "name"}},
	"tax_rates":   {Impersonal: {"category", "name"}},
	"settings":    {Impersonal: {"country", "currency"}},
	"locations":   {Impersonal: {"name"}},

	"product_prices":   {Impersonal: {"currency"}},
	"shipping_methods": {Impersonal: {"name", "prices"}},
	"stock_movements":  {Impersonal: {"note", "reason"}},
}
