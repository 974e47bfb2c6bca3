"""The Group service keeps its rules on MariaDB as well: the same tests, unchanged."""
# ruff: noqa: F401, F403

import pytest

from tests.services.mariadb import tmp_path
from tests.services.test_group import *
from tests.services.test_invitations import *
from tests.services.test_membership import *

pytestmark = pytest.mark.xdist_group("mariadb")
