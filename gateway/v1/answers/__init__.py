"""What the gateway answers: one model per body, so that answers and their OpenAPI schemas cannot disagree."""
