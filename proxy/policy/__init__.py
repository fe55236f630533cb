"""What a connection and a request may do: rules -> Grant (at admission) -> Permit (for each request). Default deny."""
