-- What the role grafana may read: what the dashboards and alert rules need. Not the tokens, the signed
-- commands and the model files. Safe to repeat. docs/grafana.md
GRANT SELECT ON site, device, camera, series, event, statistics, minute_counts, hour_counts,
  day_counts, alert, rollout, rollout_device, reject TO grafana;
GRANT SELECT (id, sha256, name, kind, release, size, created) ON model TO grafana;
