"""The program that ships with syncapp: composition only; its tables are in :mod:`project.crm`."""
