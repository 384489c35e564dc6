"""Kinds of models; each file registers one."""
