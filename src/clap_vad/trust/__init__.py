"""Who is who in a federation: keys, certificates, the folders of coordinator and sites, and a look before joining."""
