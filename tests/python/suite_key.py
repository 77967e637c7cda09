"""A plugin for the suites of test_suites.py: their clients show the credential of TEST_API_KEY.

OpenAI's suite has one of ten characters, which is too short for Hearth.
"""

import os
import sys


def pytest_collection_finish(session):
    sys.modules["tests.conftest"].api_key = os.environ["TEST_API_KEY"]
