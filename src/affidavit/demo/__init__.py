"""The guided tour: a provider simulator, a scenario, and the official clients, all on one machine."""
