"""Keeps a live source alive: notices silence, opens it again, accounts for every outage."""
