"""What tests/campaign is made of: plan, runner and play make a run; streams, model and check judge it; selftest judges the
judges."""
