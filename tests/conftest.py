"""Settings of the whole test run: the Hypothesis profiles.

`BIBANK_HYPOTHESIS_PROFILE` names one of them; `dev` is the default.

- `dev`: few, fresh examples at each run, for the edit-and-test loop.
- `ci`: more, and the same ones at each run. A red gate then speaks of the change and not of luck, and turns
  red again for whoever repeats it. New examples are the business of the other two profiles.
- `deep`: very many fresh ones, for a night or before a release.

No profile has a deadline and none checks how fast data is generated: timing is never asserted in a test.
Every failure prints its `@reproduce_failure` line, and an example that failed once is committed as a named
test.
"""

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", _COMMON, max_examples=50)
settings.register_profile("ci", _COMMON, max_examples=200, derandomize=True, database=None)
settings.register_profile("deep", _COMMON, max_examples=5_000)
settings.load_profile(os.environ.get("BIBANK_HYPOTHESIS_PROFILE", "dev"))
