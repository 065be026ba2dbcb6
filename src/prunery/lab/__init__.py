"""From a spec to records: spec, plan, store, record, work, engines."""
