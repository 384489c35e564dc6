"""Identities in a federation: keys, certificates, the folders of coordinator and sites, and a connection check."""
