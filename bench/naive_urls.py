"""The naive program's one page: it saves rows and says when each was committed."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

from bench.naive import driver


def drive(request: HttpRequest) -> JsonResponse:
    number = {name: float(value) for name, value in request.GET.items()}
    found = driver.drive(number["rate"], int(number["count"]), int(number["rows"]), int(number["first"]))
    return JsonResponse(found)


urlpatterns = [path("drive/", drive)]
