package engine

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// settingsChanged is the kind of the entries that tell what a server runs with.
const settingsChanged = "settings.changed"

// TellSettings has the log of the main tenant, which is the operator's, tell what a server
// runs with, by name, and which of it is not what the newest such entry says. If nothing
// is, it tells nothing. An entry that has no place in the log yet, after a kill, is not
// found: then the same is told again.
func (e *Engine) TellSettings(ctx context.Context, settings map[string]string) error {
	scope := e.TenantScope(identity.MainTenant)
	told, err := e.toldSettings(ctx, scope)
	if err != nil {
		return err
	}
	var changed canon.List
	var all []canon.Entry
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, canon.Entry{Name: name, Value: canon.String(settings[name])})
		if was, ok := told[name]; !ok || was != settings[name] {
			changed = append(changed, canon.String(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if _, ok := settings[name]; !ok {
			changed = append(changed, canon.String(name))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return e.record(ctx, scope, act{kind: settingsChanged, act: "engine", fields: []fieldWrite{
		{path: "$changed", value: changed}, {path: "$settings", value: newContext(all...)},
	}})
}

// toldSettings returns what the newest entry about settings says. One that was changed
// behind our back says nothing; the check names it.
func (e *Engine) toldSettings(ctx context.Context, scope store.Scope) (map[string]string, error) {
	s, err := e.newAuditSearch(ctx, scope, &auditQuestion{AuditFilter: api.AuditFilter{Kind: settingsChanged}}, -1, "")
	if err != nil {
		return nil, err
	}
	for entry, err := range s.all(ctx) {
		if fault.Is(err, fault.Integrity) {
			return nil, nil
		}
		var details struct {
			Settings map[string]string `json:"settings"`
		}
		if err == nil {
			err = json.Unmarshal(entry.Details, &details)
		}
		return details.Settings, err
	}
	return nil, nil
}
