"""Clients, their orders, payments, invoices and documents."""
