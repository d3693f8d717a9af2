"""Audits of files: findings, decisions, revisions, trail, replay."""
