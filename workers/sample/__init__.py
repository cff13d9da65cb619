"""A provider that sells made-up answers on this machine, and the steps that buy there."""
