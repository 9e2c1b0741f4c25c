package cmd

import (
	"io"
	"net"

	"github.com/opensend/opensend/web"
)

// dashboardConfig is what the dashboard is told.
func (ap *appliance) dashboardConfig() web.Config {
	config := web.Config{DB: ap.db, Engine: ap.engine, API: ap.api.Control(), BaseURL: ap.cfg.BaseURL, Version: version, Log: ap.log, Doctor: ap.examine}
	for _, row := range configRows(ap.cfg, ap.from) {
		config.Settings = append(config.Settings, web.Setting(row))
	}
	return config
}

// examine is opensend doctor from within the server.
func (ap *appliance) examine() (findings []web.Finding) {
	d := &doctor{app: &app{stdout: io.Discard, stderr: io.Discard}, cfg: ap.cfg, resolver: net.DefaultResolver}
	d.examine()
	for _, f := range d.found {
		findings = append(findings, web.Finding{Check: f.Check, Verdict: string(f.Verdict), Text: f.Text, Do: f.Do})
	}
	return findings
}
